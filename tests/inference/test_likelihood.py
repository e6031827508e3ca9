"""The volume is left out exactly where it does not depend on theta."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.bijections import AdditiveCondition, Scale
from flowjax.distributions import Normal, StandardNormal, Transformed
from scipy.stats import norm
from tests.registry import FLOWS

from mflows import Flow
from mflows.charts import Chart, Pad
from mflows.inference import log_likelihood, log_posterior
from mflows.simulators import PolynomialSurface

THETA = jnp.array([[0.0], [1.0], [-0.3]])
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
LATENT = Transformed(StandardNormal((1,)), AdditiveCondition(lambda theta: theta, (1,), (1,)))
"""u ~ N(theta, 1)"""


class Stretched(Chart):
    """The first axis of the plane, x = (e^theta u, 0): its log-volume is theta."""

    shape: tuple = (2,)
    latent_dim: int = 1
    cond_shape: tuple = (1,)

    def decode(self, u, condition=None):
        return jnp.stack([jnp.exp(condition[0]) * u[0], jnp.zeros(())])

    def encode(self, x, condition=None):
        return x[:1] * jnp.exp(-condition[0])


@pytest.fixture(scope="module")
def tripled():
    """x = (3 u, 0), whatever theta is: its log-volume is log 3."""
    return Flow(Pad(1, 2).then(Scale(jnp.array([3.0, 1.0]))), LATENT)


def test_volume_is_a_constant_of_a_chart_without_theta(tripled):
    found = jax.vmap(log_likelihood(tripled, X))(THETA)
    assert np.allclose(found, norm.logpdf(X[:, 0] / 3, THETA).sum(1))
    full = tripled.log_prob(X, THETA[:, None]).sum(1)
    assert np.allclose(found - full, len(X) * np.log(3))


def test_volume_is_kept_for_a_chart_with_theta():
    flow = Flow(Stretched(), LATENT)
    found = jax.vmap(log_likelihood(flow, X))(THETA)
    without_volume = norm.logpdf(X[:, 0] * np.exp(-THETA), THETA).sum(1)
    assert np.allclose(found, without_volume - len(X) * THETA[:, 0])
    assert np.allclose(found, flow.log_prob(X, THETA[:, None]).sum(1))


def test_errors_say_what_to_do(tripled):
    with pytest.raises(ValueError, match=r"this flow has no theta.*cond_shape"):
        log_likelihood(FLOWS["linear"](), jnp.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"\(m, 2\) for this flow; got \(4, 1\)\.$"):
        log_likelihood(tripled, X[:, :1])
    with pytest.raises(ValueError, match=r"got \(2,\)\. Write x\[None\]"):
        log_likelihood(tripled, X[0])
    with pytest.raises(ValueError, match=r"observed points of shape \(m, D\); got \(2,\)"):
        log_likelihood(PolynomialSurface(), X[0])
    with pytest.raises(ValueError, match=r"prior of shape \(1,\).*got \(2,\)"):
        log_posterior(tripled, X, Normal(jnp.zeros(2)))

    class OfEachParameter:
        def log_prob(self, x, theta):
            return theta * jnp.ones((len(x), 1))

    with pytest.raises(ValueError, match=r"log_prob\(x, theta\) of shape \(32,\).*got \(32, 2\)"):
        log_likelihood(OfEachParameter(), X)(jnp.zeros(2))
