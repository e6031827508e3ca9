"""A posterior with bounds and a strong correlation, known by quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
from flowjax.distributions import Uniform

from mflows.inference import Posterior


class Linear:
    """x ~ N(A theta, I) in three dimensions."""

    matrix = jnp.array([[1.0, 0.9], [0.9, 1.0], [1.0, 1.0]])

    def log_prob(self, x, theta):
        return -0.5 * jnp.sum((x - self.matrix @ theta) ** 2, axis=-1)


LINEAR = Linear()
PRIOR = Uniform(-jnp.ones(2), jnp.ones(2))
OBSERVED = jnp.array([[1.0, 0.0, 2.0], [0.5, 0.5, -1.0], [0.0, 1.0, 1.0]])
LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def grid(size: int = 401) -> tuple[np.ndarray, np.ndarray]:
    """Midpoints of cells that fill the prior's square, and the posterior mass of each."""
    line = (np.arange(size) + 0.5) * 2 / size - 1
    theta = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    log_prob = jax.vmap(lambda t: LINEAR.log_prob(OBSERVED, t).sum())(jnp.asarray(theta))
    mass = np.exp(log_prob - np.max(log_prob))
    return theta, mass / mass.sum()


def assert_is_the_posterior(found: Posterior, *, sigmas: float = 3.5) -> None:
    """Quantiles of both parameters, and their correlation, are those of quadrature."""
    theta, mass = grid()
    samples = found.pooled
    for i, ess in enumerate(found.diagnostics.ess_bulk):
        line = np.unique(theta[:, i])
        marginal = np.cumsum(mass.reshape(len(line), -1).sum(1 - i))
        quantiles = np.interp(LEVELS, marginal, line + (line[1] - line[0]) / 2)
        below = (samples[:, [i]] < quantiles).mean(0)
        error = np.sqrt(LEVELS * (1 - LEVELS) / ess)
        assert np.all(np.abs(below - LEVELS) < sigmas * error)
        assert error.max() < 0.02
    expected = np.cov(theta.T, aweights=mass)
    assert expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1]) < -0.7
    assert np.allclose(np.cov(samples.T), expected, rtol=0.1)
