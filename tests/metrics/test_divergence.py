import jax.numpy as jnp
import jax.random as jr
import pytest
from flowjax.distributions import Normal

from mflows import Flow
from mflows.charts import Pad
from mflows.metrics import kl_divergences

THETA = jnp.array([0.6])
"""The truth is N(theta, 1/4) x N(0, 1) in the plane; the flow is standard normal."""


class InThePlane:
    height: float = 0.0

    def simulate(self, key, theta):
        z = jr.normal(key, (len(theta), 2)) * jnp.array([0.5, 1]) + theta * jnp.array([1.0, 0])
        return jnp.pad(z, ((0, 0), (0, 1)), constant_values=self.height)

    def log_prob(self, x, theta):
        shift = (x[..., 0] - theta[..., 0]) / 0.5
        return -0.5 * (shift**2 + x[..., 1] ** 2) - jnp.log(2 * jnp.pi * 0.5)

    def distance(self, x):
        return abs(x[..., 2] - self.height)


@pytest.fixture
def plane():
    return Flow(Pad(2, 3), Normal(jnp.zeros(2)))


def test_closed_forms_of_two_normals(plane):
    found = kl_divergences(plane, InThePlane(), THETA, jr.key(0), count=40_000)
    mean, var = 0.6, 0.25
    to_model = 0.5 * (var + mean**2 - 1 - jnp.log(var))
    to_truth = 0.5 * ((1 + mean**2) / var - 1 + jnp.log(var))
    assert abs(found["kl_true_model"] - to_model) < 4 * found["kl_true_model_error"]
    assert abs(found["kl_model_true"] - to_truth) < 4 * found["kl_model_true_error"]
    assert 0 < found["kl_true_model_error"] < 0.01
    assert 0 < found["kl_model_true_error"] < 0.05
    # E_q w^2 = integral of p^2 / q
    second_moment = jnp.exp(mean**2 / (2 - var)) / jnp.sqrt(var * (2 - var))
    assert found["ess_fraction"] == pytest.approx(float(1 / second_moment), rel=0.02)


def test_of_a_perfect_flow(plane):
    class Same(InThePlane):
        def simulate(self, key, theta):
            return plane.sample(key, (len(theta),))

        def log_prob(self, x, theta):
            return plane.log_prob(x)

    found = kl_divergences(plane, Same(), THETA, jr.key(1), count=64)
    assert found == pytest.approx(dict.fromkeys(found, 0.0) | {"ess_fraction": 1.0}, abs=1e-12)


def test_another_manifold_is_refused(plane):
    lifted = InThePlane()
    lifted.height = 0.5
    with pytest.raises(ValueError, match=r"True points are up to 0.5 off.*log_density_error"):
        kl_divergences(plane, lifted, THETA, jr.key(2), count=64)

    class Elsewhere(InThePlane):
        def distance(self, x):
            return jnp.full(len(x), 0.25)

    with pytest.raises(ValueError, match=r"Points of the flow are up to 0.25 off"):
        kl_divergences(plane, Elsewhere(), THETA, jr.key(2), count=64)
