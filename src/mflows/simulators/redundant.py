r"""Eight observables of three causes: what a redundant set of measurements looks like.

    theta ~ uniform on [-1, 1]^2
    z     ~ N(m(theta), diag(s(theta))^2),   m = (theta_0, theta_1, theta_0 theta_1)
                                             s = (0.3, 0.3, 0.2 + 0.1 theta_0)
    x     = Q (z, W_2 sin(W_1 z + b)) in R^8

Q is a rotation and W_1, W_2, b are fixed random numbers, so that all eight observables mix all
causes. The points lie on a 3-dimensional manifold, where a likelihood with respect to volume in
R^8 does not exist; p(x | theta) with respect to area, and so the posterior, are known.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import Uniform
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mflows.simulators.simulator import points

CAUSES, OBSERVABLES, WAVES = 3, 8, 12
CELLS = 512
"""Cells of a side of the prior, to draw from the posterior."""


_RNG = np.random.default_rng(2003)
_ROTATION = np.linalg.qr(_RNG.normal(size=(OBSERVABLES, OBSERVABLES)))[0]
_INNER = _RNG.normal(size=(WAVES, CAUSES))
_PHASE = _RNG.uniform(0, 2 * np.pi, size=WAVES)
_OUTER = _RNG.normal(size=(OBSERVABLES - CAUSES, WAVES)) / np.sqrt(WAVES)


class RedundantObservables(eqx.Module):
    """Two parameters, three causes, eight observables."""

    @property
    def prior(self) -> Uniform:
        """Theta is uniform on [-1, 1]^2."""
        return Uniform(-jnp.ones(2), jnp.ones(2))

    def causes(self, theta: ArrayLike) -> tuple[Array, Array]:
        """Means and standard deviations of z given theta, each of shape (..., 3)."""
        first, second = jnp.moveaxis(self._theta(theta), -1, 0)
        mean = jnp.stack([first, second, first * second], axis=-1)
        width = jnp.stack([0.3 + 0 * first, 0.3 + 0 * first, 0.2 + 0.1 * first], axis=-1)
        return mean, width

    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... 8"]:
        """One point for every parameter vector in ``theta``."""
        mean, width = self.causes(theta)
        return self.embed(mean + width * jr.normal(key, mean.shape))

    def embed(self, z: ArrayLike) -> Float[Array, "... 8"]:
        """The observables of the causes ``z``, shape (..., 3)."""
        z = points("z", z, CAUSES, type(self).__name__)
        waves = jnp.sin(z @ _INNER.T + _PHASE) @ _OUTER.T
        return jnp.concatenate([z, waves], axis=-1) @ _ROTATION.T

    def unembed(self, x: ArrayLike) -> Float[Array, "... 3"]:
        """The causes of the observables ``x``."""
        return (self._x(x) @ _ROTATION)[..., :CAUSES]

    def distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Distance of ``x`` to the point of the same causes; the nearest one may be nearer."""
        return jnp.linalg.norm(self._x(x) - self.embed(self.unembed(x)), axis=-1)

    def log_prob(self, x: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """Exact log density with respect to area, of the causes of ``x``."""
        z = self.unembed(x)
        mean, width = self.causes(theta)
        slopes = jnp.cos(z @ _INNER.T + _PHASE)[..., None, :] * _OUTER
        tangents = slopes @ _INNER  # of the waves, shape (..., 5, 3)
        gram = jnp.eye(CAUSES) + jnp.swapaxes(tangents, -1, -2) @ tangents
        log_volume = 0.5 * jnp.linalg.slogdet(gram)[1]
        return norm.logpdf(z, mean, width).sum(-1) - log_volume

    def posterior(self, key: PRNGKeyArray, x: ArrayLike, size: int) -> Float[Array, "size 2"]:
        """Draw ``theta`` given one point ``x``, shape (8,), or several made by it, shape (m, 8).

        By quadrature on 512 x 512 cells of the prior, in each of which it is uniform.
        """
        cell_key, place_key = jr.split(key)
        line = (jnp.arange(CELLS) + 0.5) * 2 / CELLS - 1
        theta = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
        mean, width = self.causes(theta)
        log_prob = jnp.zeros(len(theta))
        for z in self.unembed(x).reshape(-1, CAUSES):
            log_prob += norm.logpdf(z, mean, width).sum(-1)
        chosen = jr.choice(cell_key, len(theta), (size,), p=jax.nn.softmax(log_prob))
        return theta[chosen] + (jr.uniform(place_key, (size, 2)) * 2 - 1) / CELLS

    def _theta(self, theta: ArrayLike) -> Array:
        return points("theta", theta, 2, type(self).__name__)

    def _x(self, x: ArrayLike) -> Array:
        return points("x", x, OBSERVABLES, type(self).__name__)
