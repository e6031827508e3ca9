"""What a flow has not learned is said before a posterior is shown."""

import warnings

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.bijections import AdditiveCondition
from flowjax.distributions import Normal, StandardNormal, Transformed, Uniform

import mflows as mf
from mflows import Flow
from mflows.charts import Chart, Pad
from mflows.conditions import Conditions, OutsideTraining
from mflows.inference import Misspecified, log_posterior, predictive_check, simulate
from mflows.inference.alarms import alarm_at

RNG = np.random.default_rng(0)
SEEN = np.abs(RNG.normal(scale=0.1, size=2000))
"""Distances of the points of training."""
PRIOR = Uniform(jnp.zeros(1), jnp.ones(1))


@pytest.fixture(scope="module")
def flow():
    """The plane x_1 = 0, with u ~ N(theta', 1), of training with theta in [0, 1]."""
    latent = Transformed(StandardNormal((1,)), AdditiveCondition(lambda t: t, (1,), (1,)))
    conditions = Conditions.of(np.linspace(0, 1, 100)[:, None])
    quantiles = np.quantile(SEEN, np.linspace(0, 1, 101))
    return Flow(Pad(1, 2), latent, conditions=conditions, distances=quantiles)


def at(distance):
    return np.stack([np.zeros(len(distance)), distance], axis=1)


def test_points_like_those_of_training_pass(flow):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_posterior(flow, at(np.abs(RNG.normal(scale=0.1, size=40))), PRIOR)
        log_posterior(flow, at(np.array([0.2])), PRIOR)


def test_a_point_off_the_manifold_is_named(flow):
    with pytest.warns(Misspecified, match="1 of 2 observed points lie off.*distance of up to 3;"):
        log_posterior(flow, at(np.array([0.1, 3.0])), PRIOR)


def test_many_points_a_little_off_are_named(flow):
    with pytest.warns(Misspecified, match="40 observed points lie farther.*standard errors"):
        log_posterior(flow, at(np.abs(RNG.normal(scale=0.1, size=40)) + 0.1), PRIOR)


def test_a_flow_that_has_not_been_trained_knows_no_distances(flow):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_posterior(Flow(flow.chart, flow.latent), at(np.array([3.0])), PRIOR)
        untrained = mf.models.m_flow(
            jr.key(0), (2,), 1, (1,), chart_layers=1, latent_layers=1, width=4
        )
        assert not np.isfinite(np.asarray(untrained.distances.tree)).any()


class Raised(Chart):
    """The line x_1 = theta, whose distance is known for one theta only."""

    shape: tuple = (2,)
    latent_dim: int = 1
    cond_shape: tuple = (1,)

    def decode(self, u, condition=None):
        return jnp.stack([u[0], condition[0]])

    def encode(self, x, condition=None):
        return x[:1]


def test_a_manifold_that_depends_on_theta_is_asked_at_the_posterior_mean(flow):
    raised = Flow(Raised(), flow.latent, distances=flow.distances.tree)
    theta = np.array([0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_posterior(raised, at(np.array([0.6])), PRIOR)
        alarm_at(raised, at(np.array([0.6])), theta)
        alarm_at(flow, at(np.array([5.0])), theta)  # was asked before the chains
    with pytest.warns(Misspecified, match=r"distance of up to 4\.5;"):
        alarm_at(raised, at(np.array([5.0])), theta)


def test_a_prior_beyond_training_is_named(flow):
    wide = Uniform(-jnp.ones(1), jnp.ones(1))
    with pytest.warns(OutsideTraining, match=r"4\d% of theta0 outside 0 to 1"):
        log_posterior(flow, at(np.array([0.1])), wide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_posterior(flow, at(np.array([0.1])), Normal(0.5 * jnp.ones(1), 0.1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_values_are_refused(flow, bad):
    with pytest.raises(ValueError, match=r"without missing.*got (nan|inf) in row 1"):
        log_posterior(flow, np.array([[0.0, 0.1], [bad, 0.0]]), PRIOR)


def test_the_predictive_check_sees_a_statistic_that_is_off():
    def simulator(theta, rng):
        return rng.normal(theta, 1.0, size=3)

    theta = RNG.normal(scale=0.1, size=(500, 1))
    observed = RNG.normal(size=(30, 3))
    found = predictive_check(jr.key(0), simulator, theta, observed, replicas=200)
    assert found.names[0] == "mean of x[0]"
    assert found.replicated.shape == (200, 6)
    np.testing.assert_allclose(found.observed[:3], observed.mean(0))
    assert found.p.min() > 0.01
    assert found.summary()["statistic"].to_list() == list(found.names)
    observed[:, 2] += 5
    with pytest.warns(Misspecified, match=r"1 of 6 statistics.*farthest is mean of x\[2\]"):
        predictive_check(jr.key(0), simulator, theta, observed, replicas=200)


def test_the_predictive_check_of_a_flow_draws_from_it(flow, tmp_path):
    theta = np.full((50, 1), 0.5)
    found = predictive_check(
        jr.key(0), flow, theta, at(np.zeros(20)), replicas=50, statistics={"sum": np.sum}
    )
    assert found.names == ("sum",)
    assert found.replicated.std() == pytest.approx(np.sqrt(20), rel=0.3)
    assert found.plot(tmp_path / "check.png").stat().st_size > 5_000


def test_functions_of_one_theta_and_of_many_simulate():
    def one(theta):
        return np.append(theta, 1.0)

    def many(theta, rng):
        return theta + rng.normal(size=(len(theta), 2))

    data = simulate(jr.key(0), one, PRIOR, 7)
    np.testing.assert_array_equal(data.x[:, :1], data.condition)
    assert simulate(jr.key(0), many, PRIOR, 7, vectorized=True).x.shape == (7, 2)
    again = simulate(jr.key(0), many, PRIOR, 7, vectorized=True)
    np.testing.assert_array_equal(again.x, simulate(jr.key(0), many, PRIOR, 7, vectorized=True).x)
    with pytest.raises(ValueError, match=r"Expected points of shape \(7, D\)"):
        simulate(jr.key(0), lambda theta: 1.0, PRIOR, 7)
    with pytest.raises(ValueError, match="Expected a simulator"):
        simulate(jr.key(0), "simulator", PRIOR, 7)
    with pytest.raises(mf.data.DataError):
        simulate(jr.key(0), lambda theta: np.full(2, np.nan), PRIOR, 7)
