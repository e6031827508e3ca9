import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from tests.inference.known import LINEAR, OBSERVED, PRIOR, assert_is_the_posterior

from mflows.inference import log_posterior, nuts


@pytest.fixture(scope="module")
def found():
    return nuts(jr.key(0), LINEAR, OBSERVED, PRIOR, draws=2000)


def test_bounded_and_correlated_posterior_is_that_of_quadrature(found):
    assert found.samples.shape == (4, 2000, 2)
    assert found.pooled.shape == (8000, 2)
    assert np.abs(found.pooled).max() < 1
    assert_is_the_posterior(found)


def test_log_prob_is_that_of_theta_not_of_its_coordinates(found):
    target = log_posterior(LINEAR, OBSERVED, PRIOR)
    for chain, draw in ((0, 3), (2, 500)):
        theta = jnp.asarray(found.samples[chain, draw])
        assert found.log_prob[chain, draw] == pytest.approx(float(target(theta)), abs=1e-8)


def test_the_sampler_says_how_it_went(found):
    assert found.divergences == 0
    assert found.acceptance.shape == (4,)
    assert np.all((found.acceptance > 0.6) & (found.acceptance < 1))
    table = found.summary(("left", "right"))
    assert table["name"].to_list() == ["left", "right"]
    assert table["mean"][1] == pytest.approx(found.pooled[:, 1].mean())
    assert table["95%"][1] == pytest.approx(np.quantile(found.pooled[:, 1], 0.95))
    assert table["r_hat"][0] == found.diagnostics.r_hat[0] < 1.01
    assert found.summary()["name"].to_list() == ["theta0", "theta1"]


def test_the_summary_is_shown_whole(found):
    shown = str(found.summary(("left", "right")))
    for name in ("name", "mean", "sd", "5%", "median", "95%", "r_hat", "ess_bulk", "ess_tail"):
        assert name in shown
    with pytest.raises(ValueError, match="Expected names of 2 parameters; got"):
        found.summary(("left",))


def test_arviz_has_the_chains(found):
    tree = found.to_arviz(("left", "right"))
    np.testing.assert_array_equal(tree["posterior"]["right"], found.samples[..., 1])
    np.testing.assert_array_equal(tree["sample_stats"]["lp"], found.log_prob)


def test_a_likelihood_that_is_nowhere_finite_is_an_error():
    class Nowhere:
        def log_prob(self, x, theta):
            return jnp.full(len(x), jnp.nan) * theta[0]

    with pytest.raises(ValueError, match="finite at 0 of 64 points drawn from the prior"):
        nuts(jr.key(0), Nowhere(), OBSERVED, PRIOR)
