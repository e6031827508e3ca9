r"""Two moons, of the benchmark of Lueckmann et al. 2021 (arXiv 2101.04653).

    theta ~ uniform on [-1, 1]^2,    a ~ uniform on (-pi/2, pi/2),    r ~ N(0.1, 0.01^2)
    x = (0.25 + r cos a - |s|,  r sin a + t)
    s, t = (theta_0 + theta_1) / sqrt 2,  (theta_1 - theta_0) / sqrt 2

A crescent that theta moves. With (u, v) = x + (|s|, -t) - (0.25, 0), its polar coordinates (r, a)
have dx = |r| dr da, so that

    log p(x | theta) = log N(r; 0.1, 0.01^2) - log(pi |r|),

where r is hypot(u, v), or minus that where u < 0.

A negative radius is ten standard deviations away: the density is positive everywhere, but where
u < 0 it holds 1e-23 of the probability. The benchmark's own likelihood is -inf
there and lacks the term log |r|; its reference samples do not use it.

For a point x, every (r, a) fixes |s| and t. (s, t) is a rotation of theta, so the posterior is the
crescent again, once for each sign of s, cut off at s = 0 and at the sides of the prior.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import Uniform
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from mflows.simulators.simulator import accepted, point, points

RADIUS, WIDTH = 0.1, 0.01
OFFSET = 0.25
BATCH = 1 << 14


class TwoMoons(eqx.Module):
    """Two parameters, two observables, a posterior of two crescents.

    Methods broadcast over leading axes: ``theta`` and ``x`` have shape (..., 2). Another last axis
    raises ``ValueError``.
    """

    @property
    def prior(self) -> Uniform:
        """Theta is uniform on [-1, 1]^2."""
        return Uniform(-jnp.ones(2), jnp.ones(2))

    @eqx.filter_jit
    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... 2"]:
        """Draw one point for every theta."""
        shift = _shift(_points("theta", theta))
        return shift + _crescent(key, shift.shape[:-1])

    @eqx.filter_jit
    def log_prob(self, x: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """Exact log density in the plane; infinite at the one point where r is 0."""
        u, v = jnp.moveaxis(_points("x", x) - _shift(_points("theta", theta)), -1, 0)
        distance = jnp.hypot(u - OFFSET, v)
        radius = jnp.where(u < OFFSET, -distance, distance)
        return norm.logpdf(radius, RADIUS, WIDTH) - jnp.log(jnp.pi * distance)

    def posterior(self, key: PRNGKeyArray, x: ArrayLike, size: int) -> Float[Array, "size 2"]:
        """Draw independent ``theta`` from the exact posterior of one point ``x``, shape (2,).

        Raises:
            ValueError: If ``x`` is so improbable that hardly any crescent through it has parameters
                within the prior.
        """
        x = point(x, 2, "two moons")
        return accepted(lambda key: _propose(key, x), key, size)


def _points(name: str, value: ArrayLike) -> Array:
    return points(name, value, 2, "two moons")


def _shift(theta: Float[Array, "... 2"]) -> Float[Array, "... 2"]:
    first, second = jnp.moveaxis(theta, -1, 0)
    return jnp.stack([-jnp.abs(first + second), second - first], axis=-1) / np.sqrt(2)


def _crescent(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "... 2"]:
    angle_key, radius_key = jr.split(key)
    angle = jr.uniform(angle_key, shape, minval=-jnp.pi / 2, maxval=jnp.pi / 2)
    radius = RADIUS + WIDTH * jr.normal(radius_key, shape)
    return jnp.stack([OFFSET + radius * jnp.cos(angle), radius * jnp.sin(angle)], axis=-1)


@eqx.filter_jit
def _propose(
    key: PRNGKeyArray, x: Float[Array, " 2"]
) -> tuple[Float[Array, "batch 2"], Bool[Array, " batch"]]:
    """Draw theta from crescents through ``x``; kept are those that exist within the prior."""
    crescent_key, sign_key = jr.split(key)
    across, t = jnp.moveaxis((_crescent(crescent_key, (BATCH,)) - x) * jnp.array([1, -1]), -1, 0)
    s = across * jr.rademacher(sign_key, (BATCH,))
    theta = jnp.stack([s - t, s + t], axis=-1) / np.sqrt(2)
    return theta, (across >= 0) & (jnp.abs(theta) <= 1).all(-1)
