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
from flowjax.distributions import Normal, Uniform
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from mflows.simulators import dcgan
from mflows.simulators.immersion import Immersion
from mflows.simulators.simulator import Scored

SEED = 0  # of the directions and of what is fixed
GROWTH = 0.1  # how fast the width of z grows with theta, by e-folds


class GeneratedImages(Immersion):
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

    @abstractmethod
    def law(self, theta: Float[Array, "... k"]) -> tuple[Array, Array]:
        """Means and widths of the normal z given theta, each of shape (..., n)."""

    def draw(self, key: PRNGKeyArray, theta: Float[Array, " k"]) -> Scored:
        """Coordinates of an image with their score: that of the image, as z is one to one."""
        mean, width = self.law(theta)
        z = mean + width * jr.normal(key, mean.shape)
        return Scored(z, jax.grad(self.latent_log_prob, argnums=1)(z, theta))

    def latent_log_prob(self, z: Float[Array, " n"], theta: Float[Array, " k"]) -> Scalar:
        """Log p(z | theta)."""
        return norm.logpdf(z, *self.law(theta)).sum()

    def render(self, z: Float[Array, " n"]) -> Float[Array, "H W C"]:
        """The image at z, with values in [0, 1]."""
        move = jnp.matmul(self.directions, z, precision="highest")
        pixels = self.generator(self.rest + self.scale * move)
        part = len(pixels) // self.size
        squares = pixels.reshape(self.size, part, self.size, part, -1)
        return (1 + squares.mean(axis=(1, 3))) / 2


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
