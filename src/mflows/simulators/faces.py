r"""Images of faces on a manifold of few dimensions, with a known density.

    x = (1 + G(c + s B z)) / 2,    z in R^n,    B^T B = 1,  B^T c = 0

G is the generator of a GAN (`mflows.simulators.dcgan`) that was trained on faces. n random
orthonormal directions B of its latent space vary, the rest c is fixed, as in Brehmer & Cranmer
2020 (arXiv 2003.13913), who took another generator. Images have values in [0, 1]. Their density
with respect to n-dimensional volume is

    log p(x | theta) = log p(z | theta) - 1/2 log det(J^T J),    J = dx/dz,

exactly: J comes from n forward derivatives, its determinant from a QR decomposition. The manifold
does not depend on theta. The z of an image is known where it was drawn (`log_prob_of`), and else
found by Levenberg and Marquardt's method (`log_prob`), which takes many times as long.
"""

import math
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optimistix as optx
from flowjax.distributions import AbstractDistribution, Normal, Uniform
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mflows.simulators import dcgan
from mflows.simulators.simulator import Scored, points

SEED = 0  # of the directions and of what is fixed
GROWTH = 0.1  # how fast the width of z grows with theta, by e-folds
NO_THETA = np.zeros(0)

IMAGES = 32  # at once: bounds memory
TANGENTS = 16  # at once
CANDIDATES, STARTS, STEPS = 256, 3, 64  # of the search for z
ON_IT = 1e-3  # the search ends at an image that is so near


class GeneratedImages(eqx.Module):
    """Images of a generator in n of its latent directions; subclasses say how z is distributed.

    Every method broadcasts over leading axes: ``theta`` has shape (..., k), ``z`` shape (..., n),
    ``x`` shape (..., size, size, colours). Other shapes raise ``ValueError``.

    Args:
        latent_dim: Number of directions n.
        size: Height and width, by the mean of equal squares of the generator's pixels; by default
            the generator's own, of faces 64.
        scale: s, the latent vector's change by one unit of z. The generator was trained on
            standard normal latent vectors.
        generator: The generator; by default that of faces, which is fetched when it is first
            asked for.

    Raises:
        ValueError: If the generator has fewer directions, its pixels make no such squares, or the
            scale is not positive.
        NotFetched: If the generator of faces is not in the cache, and cannot be fetched.
    """

    generator: dcgan.DCGAN
    directions: Float[Array, "inputs n"]
    rest: Float[Array, " inputs"]
    size: int = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(
        self,
        latent_dim: int,
        *,
        size: int | None = None,
        scale: float = 1.0,
        generator: dcgan.DCGAN | None = None,
    ):
        self.generator = dcgan.faces() if generator is None else generator
        inputs, full = self.generator.inputs, self.generator.shape[0]
        if not 1 <= latent_dim <= inputs:
            raise ValueError(f"Expected 1 <= latent_dim <= {inputs}; got {latent_dim}.")
        size = full if size is None else size
        if size < 1 or full % size:
            raise ValueError(f"Expected a size that divides {full}; got {size}.")
        if not 0 < scale < math.inf:
            raise ValueError(f"Expected a scale > 0; got {scale}.")
        rng = np.random.default_rng(SEED)
        # The first n of all directions, so that the directions of n are among those of n + 1.
        turn, triangle = np.linalg.qr(rng.normal(size=(inputs, inputs)))
        turn *= np.sign(np.diag(triangle))  # unique, whatever computed it
        fixed = np.where(np.arange(inputs) < latent_dim, 0.0, rng.normal(size=inputs))
        self.directions = jnp.asarray(turn[:, :latent_dim], dtype=float)
        self.rest = jnp.asarray(turn @ fixed, dtype=float)
        self.size, self.scale = size, float(scale)

    @property
    def latent_dim(self) -> int:
        """Dimension n of the manifold."""
        return self.directions.shape[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image."""
        return self.size, self.size, self.generator.shape[2]

    @property
    @abstractmethod
    def prior(self) -> AbstractDistribution:
        """Distribution of theta, of shape (k,)."""

    @abstractmethod
    def law(self, theta: Float[Array, "... k"]) -> tuple[Array, Array]:
        """Means and widths of the normal z given theta, each of shape (..., n)."""

    @eqx.filter_jit
    def latents(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... n"]:
        """Draw z for every theta: those of the images of ``simulate`` for the same key."""
        mean, width = self.law(self._theta(theta))
        return mean + width * jr.normal(key, mean.shape)

    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... H W C"]:
        """Draw one image for every theta."""
        return self.embed(self.latents(key, theta))

    def simulate_with_joint_score(self, key: PRNGKeyArray, theta: ArrayLike) -> Scored:
        """The images of ``simulate``, with the score of z: their score, as z is one to one."""
        z = self.latents(key, theta)
        return Scored(self.embed(z), self.joint_score(z, theta))

    @eqx.filter_jit
    def joint_score(self, z: ArrayLike, theta: ArrayLike) -> Float[Array, "... k"]:
        """grad_theta log p(z | theta)."""
        score = jax.grad(self.latent_log_prob, argnums=1)
        return jnp.vectorize(score, signature="(n),(k)->(k)")(self._z(z), self._theta(theta))

    def latent_log_prob(self, z: ArrayLike, theta: ArrayLike = NO_THETA) -> Float[Array, "..."]:
        """Log density of z: of the image but for what does not depend on theta."""
        mean, width = self.law(self._theta(theta))
        return norm.logpdf(self._z(z), mean, width).sum(-1)

    @eqx.filter_jit
    def embed(self, z: ArrayLike) -> Float[Array, "... H W C"]:
        """The images at ``z``, with values in [0, 1]."""
        z = self._z(z)
        flat = z.reshape(-1, self.latent_dim)
        x = jax.lax.map(self._image, flat, batch_size=IMAGES)
        return x.reshape(*z.shape[:-1], *self.shape)

    def unembed(self, x: ArrayLike) -> Float[Array, "... n"]:
        """The z of the nearest image, as far as it is found from the nearest of some images.

        The search starts at the nearest of 256 images, which are the same for all ``x``, and at
        the two next if that does not lead onto ``x``.
        """
        x = self._x(x)
        z = _nearest(self, x.reshape(-1, *self.shape))
        return z.reshape(*x.shape[:-3], self.latent_dim)

    def nearest(self, x: ArrayLike) -> Float[Array, "... H W C"]:
        """The image of the manifold that is nearest to ``x``."""
        return self.embed(self.unembed(x))

    def distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Distance of ``x`` to the nearest image: the root of the sum over all values."""
        x = self._x(x)
        return jnp.sqrt(jnp.sum((x - self.nearest(x)) ** 2, axis=(-3, -2, -1)))

    @eqx.filter_jit
    def log_volume(self, z: ArrayLike) -> Float[Array, "..."]:
        """1/2 log det J^T J at ``z``."""
        z, at_once = self._z(z), max(IMAGES // self.latent_dim, 1)
        flat = z.reshape(-1, self.latent_dim)
        found = jax.lax.map(self._log_volume, flat, batch_size=at_once)
        return found.reshape(z.shape[:-1])

    def log_prob_of(self, z: ArrayLike, theta: ArrayLike = NO_THETA) -> Float[Array, "..."]:
        """Exact log density, with respect to volume, of the images at ``z``."""
        return self.latent_log_prob(z, theta) - self.log_volume(z)

    def log_prob(self, x: ArrayLike, theta: ArrayLike = NO_THETA) -> Float[Array, "..."]:
        """Exact log density with respect to volume, at the image that is nearest to ``x``."""
        return self.log_prob_of(self.unembed(x), theta)

    def _image(self, z: Float[Array, " n"]) -> Float[Array, "H W C"]:
        move = jnp.matmul(self.directions, z, precision="highest")
        pixels = self.generator(self.rest + self.scale * move)
        part = len(pixels) // self.size
        squares = pixels.reshape(self.size, part, self.size, part, -1)
        return (1 + squares.mean(axis=(1, 3))) / 2

    def _log_volume(self, z: Float[Array, " n"]) -> Float[Array, ""]:
        _, push = jax.linearize(self._image, z)
        tangents = jax.lax.map(push, jnp.eye(len(z), dtype=z.dtype), batch_size=TANGENTS)
        triangle = jnp.linalg.qr(tangents.reshape(len(z), -1).T, mode="r")
        return jnp.log(jnp.abs(jnp.diagonal(triangle))).sum()

    def _theta(self, theta: ArrayLike) -> Array:
        return points("theta", theta, self.prior.shape[0], type(self).__name__)

    def _z(self, z: ArrayLike) -> Array:
        return points("z", z, self.latent_dim, type(self).__name__)

    def _x(self, x: ArrayLike) -> Array:
        array = jnp.asarray(x, dtype=float)
        if array.shape[-3:] != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ValueError(
                f"Expected images x of shape (..., {expected}) for {type(self).__name__}; got "
                f"{array.shape}. Are the last axes height, width and colours?"
            )
        return array


class Faces(GeneratedImages):
    """Faces with z ~ N(0, 1); no parameters, theta has shape (0,).

    Two directions times 3 change a face strongly.
    """

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        size: int | None = None,
        scale: float = 3.0,
        generator: dcgan.DCGAN | None = None,
    ):
        super().__init__(latent_dim, size=size, scale=scale, generator=generator)

    @property
    def prior(self) -> Uniform:
        """The distribution of no parameters, of shape (0,)."""
        return Uniform(jnp.zeros(0), jnp.ones(0))

    def law(self, theta):
        shape = (*theta.shape[:-1], self.latent_dim)
        return jnp.zeros(shape), jnp.ones(shape)


class ConditionalFaces(GeneratedImages):
    """Faces whose law depends on one parameter, theta ~ N(0, 1).

    z ~ N(theta a, exp(theta / 5) 1) with the unit vector a = (1, ..., 1) / sqrt(n): theta moves
    the mean and grows all widths. An image tells of it with the Fisher information
    exp(-theta / 5) + n / 50: for n = 64 and theta = 0 nearly as much by the mean as by the widths.
    With the scale 1 these are all faces of its training; times 3 they lose their greys.
    """

    def __init__(
        self,
        latent_dim: int = 64,
        *,
        size: int | None = None,
        scale: float = 1.0,
        generator: dcgan.DCGAN | None = None,
    ):
        super().__init__(latent_dim, size=size, scale=scale, generator=generator)

    @property
    def prior(self) -> Normal:
        """Theta is standard normal, of shape (1,)."""
        return Normal(jnp.zeros(1), jnp.ones(1))

    def law(self, theta):
        n = self.latent_dim
        shape = (*theta.shape[:-1], n)
        mean, width = theta / math.sqrt(n), jnp.exp(GROWTH * theta)
        return jnp.broadcast_to(mean, shape), jnp.broadcast_to(width, shape)


@eqx.filter_jit
def _nearest(manifold: GeneratedImages, x: Float[Array, "batch H W C"]) -> Float[Array, "batch n"]:
    """The z that minimise |x(z) - x|, each from several starts unless the first is found on it."""
    n = manifold.latent_dim
    candidates = jnp.asarray(np.random.default_rng(SEED).normal(size=(CANDIDATES, n)), x.dtype)
    images = manifold.embed(candidates)

    def off(z, x):
        return (manifold._image(z) - x).ravel()

    def refine(start, x):
        solver = optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6)
        return optx.least_squares(off, solver, start, x, max_steps=STEPS, throw=False).value

    def solve(x):
        starts = jax.lax.top_k(-jnp.sum((images - x) ** 2, axis=(1, 2, 3)), STARTS)[1]

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
