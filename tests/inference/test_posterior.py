import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.distributions import Normal
from scipy.stats import norm
from tests.inference.known import LINEAR, OBSERVED, PRIOR

from mflows.inference import log_posterior


def test_is_likelihood_times_prior():
    prior = Normal(jnp.array([1.0, 2.0]), 0.5)
    theta = np.array([0.3, -0.2])
    mean = np.asarray(LINEAR.matrix) @ theta
    expected = -0.5 * np.sum((np.asarray(OBSERVED) - mean) ** 2)
    expected += norm.logpdf(theta, [1, 2], 0.5).sum()
    found = log_posterior(LINEAR, OBSERVED, prior)(jnp.asarray(theta))
    assert found == pytest.approx(expected)


def test_nothing_is_possible_outside_the_prior():
    target = log_posterior(LINEAR, OBSERVED, PRIOR)
    assert target(jnp.array([0.0, 1.1])) == -jnp.inf
    assert jnp.isfinite(target.unconstrained(jnp.array([0.0, 9.9])))


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"unconditional prior of shape \(k,\); got shape \(\)"):
        log_posterior(LINEAR, OBSERVED, Normal(0.0))


def test_another_number_of_points_needs_no_other_program():
    """Arrays of the same shapes, and the points that fill them up do not count."""
    few, many = (log_posterior(LINEAR, OBSERVED[:m], PRIOR) for m in (1, 3))
    assert eqx.tree_equal(*(jax.tree.map(np.shape, target) for target in (few, many)))
    theta = jnp.array([0.3, -0.2])
    each = LINEAR.log_prob(OBSERVED, theta)
    assert many(theta) - few(theta) == pytest.approx(float(each[1:].sum()))
