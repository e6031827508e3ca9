"""A flow of theta given x: what it sees of x, where theta may be, and in which units."""

import json
import pickle

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest
from paramax import unwrap
from tests.registry import FLOWS, IMAGE, m_flow, pae, posterior_flow

import mflows as mf
from mflows.charts import Placement, place
from mflows.conditions import OutsideTraining
from mflows.layers import outermost
from mflows.models.posterior import of_parts

LOW, HIGH = [-1.0, 0.0], [1.0, 3e-9]
TINY = {"chart_layers": 1, "latent_layers": 1, "cond_shape": (2,)}
THETA = np.random.default_rng(0).normal(size=(5, 2))


def seen(flow: mf.Flow) -> mf.Flow:
    """The flow as if training had seen all points."""
    ends = lambda f: (f.conditions.lowest.tree, f.conditions.highest.tree)  # noqa: E731
    return eqx.tree_at(ends, flow, tuple(np.full((3,), end) for end in (-np.inf, np.inf)))


@pytest.fixture(scope="module")
def likelihood() -> mf.Flow:
    """A curve in space, whose density depends on two parameters."""
    return m_flow(1, 3, **TINY)


@pytest.fixture(scope="module")
def boxed(likelihood) -> mf.Flow:
    return seen(posterior_flow(likelihood, low=LOW, high=HIGH))


def test_it_sees_the_coordinates_of_a_point_and_nothing_else_of_it():
    likelihood = m_flow(1, 3, chart_layers=1, cond_shape=(2,))
    flow = seen(FLOWS["posterior given a curve"]())
    x = np.random.default_rng(1).normal(size=(5, 3))
    projected = likelihood.project(x, THETA)
    log_prob = np.asarray(flow.log_prob(THETA, x))
    np.testing.assert_allclose(flow.log_prob(THETA, projected), log_prob, rtol=1e-8)
    assert np.abs(projected - x).max() > 0.1
    assert np.abs(flow.log_prob(THETA, x[::-1]) - log_prob).max() > 0.01


def test_its_density_is_one_within_its_bounds_and_none_outside(boxed):
    x = np.array([0.3, -0.2, 0.5])
    shares = (np.arange(200) + 0.5) / 200
    grid = np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2)
    theta = np.array(LOW) + grid * (np.array(HIGH) - LOW)
    density = np.exp(np.asarray(boxed.log_prob(theta, x)))
    assert density.mean() * np.prod(np.array(HIGH) - LOW) == pytest.approx(1, abs=5e-3)
    assert np.ptp(np.log(density)) > 1
    drawn, log_prob = boxed.sample_and_log_prob(jr.key(0), (500,), x)
    assert (drawn >= np.array(LOW)).all()
    assert (drawn <= np.array(HIGH)).all()
    np.testing.assert_allclose(boxed.log_prob(drawn, x), log_prob, rtol=1e-6)
    corners = np.array([LOW, HIGH])
    assert np.isfinite(boxed.log_prob(corners, x)).all()
    outside = np.array([[1.001, 1e-9], [0.0, -1e-12], [-2.0, 1e-9]])
    np.testing.assert_array_equal(boxed.log_prob(outside, x), -np.inf)
    np.testing.assert_allclose(boxed.distance(outside, x), [0.001, 1e-12, 1.0], rtol=1e-6)
    pairs = mf.data.Data(outside, condition=np.tile(x, (3, 1)))
    with pytest.raises(mf.data.DataError, match=r"to 1, the bounds of its prior; got"):
        mf.fit(jr.key(0), boxed, pairs, mf.recipes.maximum_likelihood(1), progress=False)


def test_it_comes_back_bit_for_bit(boxed, tmp_path):
    mf.save(tmp_path, boxed)
    arguments = json.loads((tmp_path / "flow.json").read_text())["arguments"]
    assert arguments["encoder"]["model"] == "m_flow"
    assert arguments["bounds"] == [LOW, HIGH]
    for loaded in (mf.load(tmp_path), pickle.loads(pickle.dumps(boxed))):
        assert eqx.tree_equal(loaded, boxed)


def in_units(likelihood: mf.Flow, offset: np.ndarray, unit: np.ndarray) -> mf.Flow:
    """The likelihood of points in other units."""
    plane = np.eye(3)[:1]
    return eqx.tree_at(
        lambda f: f.chart, likelihood, place(likelihood.chart, Placement(offset, unit, plane))
    )


def test_training_keeps_the_encoder_and_knows_no_units():
    """Of points beyond what single precision resolves, that it computes in."""
    rng = np.random.default_rng(3)
    theta = rng.uniform(LOW, HIGH, size=(40, 2))
    x = rng.normal(size=(40, 3)) + theta[:, :1]
    offset, unit = np.array([2e9, 0.0, 40.0]), np.array([1.0, 1e-9, 1e3])
    found = []
    with jax.enable_x64(False):
        likelihood = m_flow(1, 3, **TINY)
        for where in ((np.zeros(3), np.ones(3)), (offset, unit)):
            known, points = in_units(likelihood, *where), where[0] + where[1] * x
            flow = posterior_flow(known, low=LOW, high=HIGH)
            with pytest.warns(OutsideTraining, match="outside the range of training"):
                flow.log_prob(theta, points)
            recipe = mf.recipes.maximum_likelihood(2, batch_size=20, learning_rate=0.01)
            data = mf.data.Data(theta, condition=points)
            fitted = mf.fit(jr.key(0), flow, data, recipe, validation=0, progress=False)
            trained = fitted.flow
            assert fitted.history[1]["train"] < fitted.history[0]["train"]
            np.testing.assert_array_equal(trained.conditions.placement.centre, where[0])
            np.testing.assert_allclose(
                trained.conditions.range, (points.min(0), points.max(0)), rtol=1e-6
            )
            assert eqx.tree_equal(unwrap(trained.latent.chart), unwrap(known.own().chart))
            found.append(trained.log_prob(theta, points))
    np.testing.assert_allclose(found[1], found[0], atol=2e-3)


def test_points_of_any_shape_are_conditions_in_a_row():
    likelihood = pae(2, IMAGE, cond_shape=(3,))
    flow = posterior_flow(likelihood)
    assert flow.shape == (3,)
    assert flow.cond_shape == (6,)
    mean = outermost(likelihood.chart).centre.ravel()
    assert flow.sample(jr.key(0), (2,), mean).shape == (2, 3)


def test_errors_say_what_is_wrong(likelihood):
    def build(likelihood, **bounds):
        mf.models.posterior_flow(jr.key(0), likelihood, **bounds)

    for other in (FLOWS["curve"](), FLOWS["conditional surface"]()):
        with pytest.raises(ValueError, match="x can be encoded without theta; got chart and"):
            build(other)
    with pytest.raises(ValueError, match="register has added; got one built by hand"):
        build(FLOWS["nested"]())
    with pytest.raises(ValueError, match="register has added; got one built by mine"):
        of_parts(jr.key(0), (2,), {"model": "mine", "arguments": {}}, None, {})
    for low, high in [([0, 0], None), ([0], [1]), ([0, 0], [1, np.inf])]:
        with pytest.raises(ValueError, match=r"Expected low and high of 2 finite numbers each"):
            build(likelihood, low=low, high=high)
    for low, high in [([0, 0], [1, 0]), ([0, 1], [1, 0]), ([0, 1e18], [1, 1e18 + 1e5])]:
        with pytest.raises(ValueError, match=r"Expected low < high, apart in JAX's precision"):
            build(likelihood, low=low, high=high)
