r"""Simulators of points, mostly images, that are a smooth function of n coordinates.

    x = E(z),   z ~ p(z | theta),   log p(x | theta) = log p(z | theta) - 1/2 log det(J^T J)

with J = dE/dz, by n forward derivatives, and its determinant by a QR decomposition. E is a renderer
or a generator of images, or of vectors. The manifold does not depend on theta. The z of an image is
known where it was drawn (`log_prob_of`), and else found by Levenberg and Marquardt's method
(`log_prob`), which takes many times as long.
"""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
from equinox import AbstractVar
from flowjax.distributions import AbstractDistribution
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from mflows.simulators.simulator import Scored, points

NO_THETA = np.zeros(0)

IMAGES = 32  # at once: bounds memory
TANGENTS = 16  # at once
STARTS, STEPS = 3, 64  # of the search for z
ON_IT = 1e-3  # the search ends at an image that is so near


class Immersion(eqx.Module):
    """Interface of simulators of images, or other points, with n coordinates.

    Public methods broadcast over leading axes: z has shape (..., n), theta (..., k) and x
    (..., *shape). Other shapes raise ``ValueError``.

    Attributes:
        latent_dim: Number n of coordinates.
        shape: Shape of a point, (H, W, C) of an image.
        candidates: Number of images among which the search for a given one looks for its starts.
    """

    latent_dim: AbstractVar[int]
    shape: AbstractVar[tuple[int, ...]]
    candidates: ClassVar[int] = 256

    @property
    @abstractmethod
    def prior(self) -> AbstractDistribution:
        """Distribution of theta, of shape (k,)."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, theta: Float[Array, " k"]) -> Scored:
        """Coordinates z of one image, and their joint score."""

    @abstractmethod
    def render(self, z: Float[Array, " n"]) -> Float[Array, "..."]:
        """The image E(z)."""

    @abstractmethod
    def latent_log_prob(self, z: Float[Array, " n"], theta: Float[Array, " k"]) -> Scalar:
        """Log p(z | theta) of one z: of the image but for what does not depend on theta."""

    def latents(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... n"]:
        """Draw z for every theta: those of the images of ``simulate`` for the same key."""
        return self._drawn(key, theta).x

    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "..."]:
        """Draw one image for every theta."""
        return self.embed(self.latents(key, theta))

    def simulate_with_joint_score(self, key: PRNGKeyArray, theta: ArrayLike) -> Scored:
        """The images of ``simulate`` for the same key, and the joint score of each."""
        z, joint_score = self._drawn(key, theta)
        return Scored(self.embed(z), joint_score)

    @eqx.filter_jit
    def embed(self, z: ArrayLike) -> Float[Array, "..."]:
        """The images at ``z``."""
        z = self._z(z)
        x = jax.lax.map(self.render, z.reshape(-1, self.latent_dim), batch_size=IMAGES)
        return x.reshape(*z.shape[:-1], *self.shape)

    @eqx.filter_jit
    def log_volume(self, z: ArrayLike) -> Float[Array, "..."]:
        """1/2 log det J^T J at ``z``."""
        z, at_once = self._z(z), max(IMAGES // self.latent_dim, 1)
        flat = z.reshape(-1, self.latent_dim)
        return jax.lax.map(self._log_volume, flat, batch_size=at_once).reshape(z.shape[:-1])

    def log_prob_of(self, z: ArrayLike, theta: ArrayLike = NO_THETA) -> Float[Array, "..."]:
        """Exact log density, with respect to volume, of the images at ``z``."""
        latent = jnp.vectorize(self.latent_log_prob, signature="(n),(k)->()")
        return latent(self._z(z), self._theta(theta)) - self.log_volume(z)

    def log_prob(self, x: ArrayLike, theta: ArrayLike = NO_THETA) -> Float[Array, "..."]:
        """Exact log density with respect to volume, at the image that is nearest to ``x``."""
        return self.log_prob_of(self.unembed(x), theta)

    def unembed(self, x: ArrayLike) -> Float[Array, "... n"]:
        """The z of the nearest image, as far as it is found from the nearest of some images.

        The search starts at the nearest of ``candidates`` images, which are the same for all ``x``,
        and at the two next if that does not lead onto ``x``.
        """
        x = self._x(x)
        z = _nearest(self, x.reshape(-1, *self.shape))
        return z.reshape(*x.shape[: x.ndim - len(self.shape)], self.latent_dim)

    def nearest(self, x: ArrayLike) -> Float[Array, "..."]:
        """The image of the manifold that is nearest to ``x``."""
        return self.embed(self.unembed(x))

    def distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Distance of ``x`` to the nearest image: the root of the sum over all values."""
        x = self._x(x)
        axes = tuple(range(-len(self.shape), 0))
        return jnp.sqrt(jnp.sum((x - self.nearest(x)) ** 2, axis=axes))

    @eqx.filter_jit
    def _drawn(self, key: PRNGKeyArray, theta: ArrayLike) -> Scored:
        theta = self._theta(theta)
        keys = jr.split(key, theta.shape[:-1])
        return Scored(*jnp.vectorize(self.draw, signature="(),(k)->(n),(k)")(keys, theta))

    def _log_volume(self, z: Float[Array, " n"]) -> Scalar:
        _, push = jax.linearize(self.render, z)
        tangents = jax.lax.map(push, jnp.eye(len(z), dtype=z.dtype), batch_size=TANGENTS)
        triangle = jnp.linalg.qr(tangents.reshape(len(z), -1).T, mode="r")
        return jnp.log(jnp.abs(jnp.diagonal(triangle))).sum()

    def _theta(self, theta: ArrayLike) -> Array:
        return points("theta", theta, self.prior.shape[0], type(self).__name__)

    def _z(self, z: ArrayLike) -> Array:
        return points("z", z, self.latent_dim, type(self).__name__)

    def _x(self, x: ArrayLike) -> Array:
        array = jnp.asarray(x, dtype=float)
        if array.shape[array.ndim - len(self.shape) :] != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ValueError(
                f"Expected x of shape (..., {expected}) for {type(self).__name__}; got "
                f"{array.shape}. Are the last axes those of a point?"
            )
        return array


@eqx.filter_jit
def _nearest(manifold: Immersion, x: Float[Array, "batch ..."]) -> Float[Array, "batch n"]:
    """The z that minimise |E(z) - x|, each from several starts unless the first is found on it."""
    theta_key, key = jr.split(jr.key(0))
    theta = manifold.prior.sample(theta_key, (manifold.candidates,))
    candidates = manifold.latents(key, theta)
    images = manifold.embed(candidates)

    def off(z, x):
        return (manifold.render(z) - x).ravel()

    def refine(start, x):
        solver = optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)
        return optx.least_squares(off, solver, start, x, max_steps=STEPS, throw=False).value

    def solve(x):
        axes = tuple(range(1, images.ndim))
        starts = jax.lax.top_k(-jnp.sum((images - x) ** 2, axis=axes), STARTS)[1]

        def unsettled(state):
            tried, _, distance = state
            return (tried < STARTS) & (distance > ON_IT)

        def step(state):
            tried, best, distance = state
            found = refine(candidates[starts[tried]], x)
            away = jnp.linalg.norm(off(found, x))
            better = away < distance
            return tried + 1, jnp.where(better, found, best), jnp.where(better, away, distance)

        return jax.lax.while_loop(unsettled, step, (0, candidates[0], jnp.inf))[1]

    return jax.lax.map(solve, x)
