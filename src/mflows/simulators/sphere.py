r"""Normal angles on a sphere, with their exact density (Brehmer & Cranmer 2020, arXiv 2003.13913).

    phi_i ~ N(m_i, s_i^2),  i = 1..n,      r = 1 + e,  e and the remaining coordinates ~ N(0, eps^2)
    x = r (cos phi_1,  sin phi_1 cos phi_2,  ...,  sin phi_1 ... sin phi_n),  remaining

The phi_i take all real values, so that many of them share a point. Let a_1 .. a_(n-1) in [0, pi]
and a_n in [-pi, pi) be the angles of a point w. All phi_1 = +-a_1 + 2 pi k have its first
coordinate, and with the minus sign, where sin phi_1 < 0, the other angles have to describe the
antipode of the rest. So the density of w in its angles, D_1(w), follows from

    D_i(w) = sum_k  N(a_i + 2 pi k) D_(i+1)(w')  +  N(-a_i + 2 pi k) D_(i+1)(-w')

where w' is w without its first coordinate; the last angle has no second term, and the angles of
-w are pi - a_1, ..., pi - a_(n-1), a_n + pi. With respect to area it is D_1 / prod sin^(n-i) a_i,
which for n > 1 has integrable poles where a sine is 0.

With eps > 0 the density is that in all of space: both signs of r reach x, and
dx = |r|^n dr dA.
"""

import math
from abc import abstractmethod
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import AbstractDistribution, Uniform
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mflows.simulators.simulator import points

IMAGES = 4
"""Turns to either side: exact to rounding for widths up to 3 and means within [-pi, 2 pi]."""

NO_THETA = np.zeros(0)

_points = partial(points, simulator="this sphere")


class AngularGaussian(eqx.Module):
    """Normal angles on the unit sphere S^n in R^D; what is common to the simulators below.

    Methods broadcast over leading axes: ``theta`` has shape (..., k), ``x`` shape (..., D). A wrong
    last axis raises ``ValueError``.

    Args:
        n: Dimension of the sphere, at least 1: a circle.
        dim: Dimension D of the data, by default n + 1.
        noise: Standard deviation eps of the radius and of the coordinates beyond n + 1. With 0 the
            points lie on the sphere and ``log_prob`` is the density with respect to its area.

    Raises:
        ValueError: If one of them is out of its range.
    """

    n: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    noise: float = eqx.field(static=True)

    def __init__(self, n: int = 2, *, dim: int | None = None, noise: float = 0.0):
        self.n, self.dim, self.noise = n, n + 1 if dim is None else dim, float(noise)
        if not 1 <= self.n < self.dim:
            raise ValueError(f"Expected 1 <= n < dim; got n = {self.n}, dim = {self.dim}.")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"Expected a noise >= 0; got {noise}.")

    @property
    @abstractmethod
    def prior(self) -> AbstractDistribution:
        """Distribution of theta, of shape (k,)."""

    @abstractmethod
    def angles(self, theta: Float[Array, "... k"]) -> tuple[Array, Array]:
        """Means and widths of the angles given theta, each of shape (..., n)."""

    @eqx.filter_jit
    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... D"]:
        """Draw one point for every theta."""
        mean, width = self.angles(_points("theta", theta, self.prior.shape[0]))
        angle_key, noise_key = jr.split(key)
        phi = mean + width * jr.normal(angle_key, mean.shape)
        noise = self.noise * jr.normal(noise_key, (*mean.shape[:-1], self.dim - self.n))
        return jnp.concatenate([(1 + noise[..., :1]) * _embedded(phi), noise[..., 1:]], axis=-1)

    @eqx.filter_jit
    def log_prob(self, x: ArrayLike, theta: ArrayLike = NO_THETA) -> Float[Array, "..."]:
        """Exact log density with respect to area, at the projection of ``x``.

        With noise it is the log density in space, at ``x`` itself.
        """
        theta = _points("theta", theta, self.prior.shape[0])
        x = _points("x", x, self.dim)
        directed, rest = jnp.split(x, [self.n + 1], axis=-1)
        of_direction = jnp.stack(self._of_direction(directed, theta))  # that of x, that of -x
        if self.noise == 0:
            return of_direction[0]
        radius = jnp.linalg.norm(directed, axis=-1)
        of_radius = norm.logpdf(jnp.stack([radius, -radius]), 1.0, self.noise)
        signed = jax.nn.logsumexp(of_direction + of_radius, axis=0)
        return signed - self.n * jnp.log(radius) + norm.logpdf(rest, 0.0, self.noise).sum(-1)

    def distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Distance to the nearest point of the sphere."""
        directed, rest = jnp.split(_points("x", x, self.dim), [self.n + 1], axis=-1)
        off = jnp.linalg.norm(directed, axis=-1, keepdims=True) - 1
        return jnp.linalg.norm(jnp.concatenate([off, rest], axis=-1), axis=-1)

    def _of_direction(self, x: Float[Array, "... n+1"], theta: Array) -> tuple[Array, Array]:
        """Log density with respect to area, in the direction of ``x`` and in the opposite one."""
        mean, width = self.angles(theta)
        turns = 2 * jnp.pi * jnp.arange(-IMAGES, IMAGES + 1)

        def wrapped(angle, i):
            images = norm.logpdf(angle[..., None] + turns, mean[..., i, None], width[..., i, None])
            return jax.nn.logsumexp(images, axis=-1)

        azimuth = jnp.arctan2(x[..., -1], x[..., -2])
        there, back = (wrapped(angle, self.n - 1) for angle in (azimuth, azimuth + jnp.pi))
        for i in reversed(range(self.n - 1)):
            rest = jnp.linalg.norm(x[..., i + 1 :], axis=-1)
            angle = jnp.arctan2(rest, x[..., i])
            log_sine = jnp.log(rest / jnp.hypot(rest, x[..., i]))
            there, back = (
                jnp.logaddexp(wrapped(a, i) + same, wrapped(-a, i) + other)
                - (self.n - 1 - i) * log_sine
                for a, same, other in ((angle, there, back), (jnp.pi - angle, back, there))
            )
        return there, back


class GaussianSphere(AngularGaussian):
    """All angles with mean pi/2 and width pi/4; no parameters, theta has shape (0,)."""

    def __init__(self, n: int = 2, *, dim: int | None = None, noise: float = 0.0):
        super().__init__(n, dim=dim, noise=noise)

    @property
    def prior(self) -> Uniform:
        """The distribution of no parameters, of shape (0,)."""
        return Uniform(jnp.zeros(0), jnp.ones(0))

    def angles(self, theta):
        shape = (*theta.shape[:-1], self.n)
        return jnp.full(shape, jnp.pi / 2), jnp.full(shape, jnp.pi / 4)


class GaussianCircle(GaussianSphere):
    """The angle on the unit circle with mean pi/2 and width pi/4; no parameters."""

    def __init__(self, *, dim: int | None = None, noise: float = 0.0):
        super().__init__(1, dim=dim, noise=noise)


class ConditionalSphere(AngularGaussian):
    """Parameters theta in [-1, 1]^2 set the width of all angles and the mean of the last one.

    Widths grow from 0.1 pi to 0.4 pi with theta_0, and the last angle's mean goes from pi/2 to
    3 pi/2 with theta_1; the other means are pi/2.
    """

    def __init__(self, n: int = 2, *, dim: int | None = None, noise: float = 0.0):
        super().__init__(n, dim=dim, noise=noise)

    @property
    def prior(self) -> Uniform:
        """Theta is uniform on [-1, 1]^2."""
        return Uniform(-jnp.ones(2), jnp.ones(2))

    def angles(self, theta):
        share = 0.5 + 0.5 * theta
        width = jnp.pi * (0.1 + 0.3 * share[..., :1])
        others = jnp.full((*theta.shape[:-1], self.n - 1), jnp.pi / 2)
        mean = jnp.concatenate([others, jnp.pi * (0.5 + share[..., 1:])], axis=-1)
        return mean, jnp.broadcast_to(width, mean.shape)


def _embedded(phi: Float[Array, "... n"]) -> Float[Array, "... n+1"]:
    """The point of the unit sphere with these angles."""
    one = jnp.ones_like(phi[..., :1])
    sines = jnp.concatenate([one, jnp.cumprod(jnp.sin(phi), axis=-1)], axis=-1)
    return sines * jnp.concatenate([jnp.cos(phi), one], axis=-1)
