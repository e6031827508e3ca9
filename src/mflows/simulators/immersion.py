r"""Simulators of images that are a smooth function of n coordinates with a known density.

    x = E(z),   z ~ p(z | theta),   log p(x | theta) = log p(z | theta) - 1/2 log det(J^T J)

with J = dE/dz, by forward mode. E is a renderer or a generator of images. Everything else follows:
the exact density of every image, the coordinates of a given one and the distance to the nearest,
both by Levenberg-Marquardt from the nearest few of many images.
"""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optimistix as optx
from equinox import AbstractVar
from flowjax.distributions import AbstractDistribution
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from mflows.simulators.simulator import Scored, points

STARTS, DESCENTS = 4096, 4
"""Images among which the search for a given one looks for its starts, and how many it takes."""
AT_ONCE = 64
"""Images at a time: bounds the memory of their Jacobians."""


class Immersion(eqx.Module):
    """Interface of simulators of images with n coordinates.

    Public methods broadcast over leading axes: z has shape (..., n), theta (..., k) and x
    (..., H, W, C).

    Attributes:
        latent_dim: Number n of coordinates.
        shape: Shape (H, W, C) of an image.
        title: What it is called in messages.
    """

    latent_dim: AbstractVar[int]
    shape: AbstractVar[tuple[int, int, int]]
    title: AbstractVar[str]

    @property
    @abstractmethod
    def prior(self) -> AbstractDistribution:
        """Distribution of theta, of shape (k,)."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, theta: Float[Array, " k"]) -> Scored:
        """Coordinates z of one image, and their joint score."""

    @abstractmethod
    def render(self, z: Float[Array, " n"]) -> Float[Array, "H W C"]:
        """The image E(z)."""

    @abstractmethod
    def latent_log_prob(self, z: Float[Array, " n"], theta: Float[Array, " k"]) -> Scalar:
        """Log p(z | theta)."""

    def starts(self, count: int) -> Float[Array, "count n"]:
        """Coordinates all over the manifold: draws at draws of theta."""
        theta_key, key = jr.split(jr.key(0))
        return self.latents(key, self.prior.sample(theta_key, (count,)))

    def latents(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... n"]:
        """The coordinates of the images that ``simulate`` draws."""
        return self._drawn(key, theta).x

    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... H W C"]:
        """Draw one image for every theta."""
        return self.embed(self.latents(key, theta))

    def simulate_with_joint_score(self, key: PRNGKeyArray, theta: ArrayLike) -> Scored:
        """The images of ``simulate`` for the same key, and the joint score of each."""
        z, joint_score = self._drawn(key, theta)
        return Scored(self.embed(z), joint_score)

    def embed(self, z: ArrayLike) -> Float[Array, "... H W C"]:
        """The images with the coordinates z."""
        return _mapped(self.render, self._latent(z), 1)

    def log_volume(self, z: ArrayLike) -> Float[Array, "..."]:
        """1/2 log det(J^T J) at the coordinates z."""
        return _mapped(self._log_volume, self._latent(z), 1)

    def log_prob_of(self, z: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """Exact log density of the images with the coordinates z, in nats per n-volume."""
        latent = jnp.vectorize(self.latent_log_prob, signature="(n),(k)->()")
        return latent(self._latent(z), self._theta(theta)) - self.log_volume(z)

    def log_prob(self, x: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """Exact log density, at the nearest image of the manifold."""
        return self.log_prob_of(self.unembed(x), theta)

    def unembed(self, x: ArrayLike) -> Float[Array, "... n"]:
        """Coordinates of the nearest image of the manifold.

        The search is local: where the manifold nearly meets itself, a nearer one can be missed.
        """
        starts = self.starts(STARTS)
        known = self.embed(starts)
        return _mapped(lambda x: self._descended(x, starts, known), self._images(x), 3)

    def nearest(self, x: ArrayLike) -> Float[Array, "... H W C"]:
        """The nearest image of the manifold."""
        return self.embed(self.unembed(x))

    def distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Euclidean distance to the nearest image of the manifold."""
        offset = self._images(x) - self.nearest(x)
        return jnp.sqrt(jnp.sum(offset**2, axis=(-3, -2, -1)))

    @eqx.filter_jit
    def _drawn(self, key: PRNGKeyArray, theta: ArrayLike) -> Scored:
        theta = self._theta(theta)
        keys = jr.split(key, theta.shape[:-1])
        return Scored(*jnp.vectorize(self.draw, signature="(),(k)->(n),(k)")(keys, theta))

    def _log_volume(self, z: Float[Array, " n"]) -> Scalar:
        jacobian = jax.jacfwd(self.render)(z).reshape(-1, self.latent_dim)
        triangle = jnp.linalg.qr(jacobian, mode="r")
        return jnp.sum(jnp.log(jnp.abs(jnp.diag(triangle))))

    def _descended(self, x: Array, starts: Array, known: Array) -> Float[Array, " n"]:
        """The best end of descents from the nearest of the known images."""
        _, nearest = jax.lax.top_k(-jnp.sum((known - x) ** 2, axis=(1, 2, 3)), DESCENTS)

        def descend(start):
            solution = optx.least_squares(
                lambda z, _: (self.render(z) - x).ravel(),
                optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6),
                start,
                max_steps=64,
                throw=False,
            )
            return solution.value

        ends = jnp.concatenate([jax.vmap(descend)(starts[nearest]), starts[nearest[:1]]])
        errors = jnp.sum((jax.vmap(self.render)(ends) - x) ** 2, axis=(1, 2, 3))
        return ends[jnp.nanargmin(errors)]

    def _latent(self, z: ArrayLike) -> Float[Array, "... n"]:
        return points("z", z, self.latent_dim, self.title)

    def _theta(self, theta: ArrayLike) -> Float[Array, "... k"]:
        return points("theta", theta, self.prior.shape[0], self.title)

    def _images(self, x: ArrayLike) -> Float[Array, "... H W C"]:
        x = jnp.asarray(x, dtype=float)
        if x.shape[-3:] != self.shape:
            raise ValueError(
                f"Expected images of shape (..., {', '.join(map(str, self.shape))}) for "
                f"{self.title}; got {x.shape}."
            )
        return x


@eqx.filter_jit
def _mapped(function: Callable[[Array], Array], x: Array, axes: int) -> Array:
    """A function of one point, whose last axes these are, of all of them, some at a time."""
    batch = x.shape[: x.ndim - axes]
    flat = x.reshape(-1, *x.shape[x.ndim - axes :])
    found = jax.lax.map(function, flat, batch_size=AT_ONCE)
    return found.reshape(*batch, *found.shape[1:])
