import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.bijections import Exp
from flowjax.distributions import (
    Beta,
    Cauchy,
    Exponential,
    Gamma,
    LogNormal,
    Transformed,
    Uniform,
)
from paramax import unwrap

from mflows.inference import support

LOW, HIGH = jnp.array([-1.0]), jnp.array([3.0])
PRIORS = {
    "uniform": Uniform(LOW, HIGH),
    "log-normal": LogNormal(LOW, 0.7),
    "exponential": Exponential(HIGH),
    "gamma": Gamma(HIGH, 0.5),
    "beta": Beta(HIGH, 2.0 * HIGH),
    "exponential of uniform": Transformed(Uniform(LOW, HIGH), Exp((1,))),
}


@pytest.mark.parametrize("name", PRIORS)
def test_density_of_unconstrained_coordinates_integrates_to_one(name):
    prior = unwrap(PRIORS[name])
    bijection = unwrap(support(prior))
    z = jnp.linspace(-40, 40, 80_001)[:, None]

    @jax.jit
    @jax.vmap
    def log_density(z):
        theta, log_det = bijection.transform_and_log_det(z)
        return prior._log_prob(theta) + log_det

    mass = np.trapezoid(np.exp(log_density(z)), z[:, 0])
    assert mass == pytest.approx(1, abs=1e-3)


def test_a_uniform_prior_becomes_standard_normal():
    bijection = unwrap(support(PRIORS["uniform"]))
    z = jnp.array([0.7])
    theta, log_det = bijection.transform_and_log_det(z)
    assert log_det + unwrap(PRIORS["uniform"])._log_prob(theta) == pytest.approx(
        -0.5 * 0.7**2 - 0.5 * np.log(2 * np.pi)
    )
    slope = jax.grad(lambda z: bijection.transform(z)[0])(z)[0]
    assert log_det == pytest.approx(float(jnp.log(slope)))
    back, inverse_log_det = bijection.inverse_and_log_det(theta)
    assert jnp.allclose(back, z)
    assert jnp.allclose(inverse_log_det, -log_det)


def test_an_unknown_prior_is_taken_as_unbounded():
    prior = Cauchy(LOW)
    assert support(prior.base_dist).transform(HIGH) == HIGH
