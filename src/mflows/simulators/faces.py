r"""Images of faces on a manifold of few dimensions, with a known density.

    x = (1 + G(c + s B z)) / 2,    z in R^n,    B^T B = 1,  B^T c = 0

G is the generator of a GAN (`mflows.simulators.dcgan`) that was trained on faces; the rest is as
in `mflows.simulators.generated`. Images have values in [0, 1].
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.distributions import Normal
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from mflows.simulators import dcgan
from mflows.simulators.generated import Generated, GeneratorManifold
from mflows.simulators.simulator import Scored

GROWTH = 0.1  # how fast the width of z grows with theta, by e-folds


class _Shrunk(eqx.Module):
    """A generator whose images are the means of equal squares of pixels."""

    generator: dcgan.DCGAN
    size: int = eqx.field(static=True)

    def __call__(self, w: Float[Array, " inputs"]) -> Float[Array, "size size colours"]:
        pixels = self.generator(w)
        part = len(pixels) // self.size
        return pixels.reshape(self.size, part, self.size, part, -1).mean(axis=(1, 3))


def _of_size(generator: dcgan.DCGAN | None, size: int | None) -> tuple[_Shrunk, int]:
    """The generator with images of this size, and the number of its latent variables.

    Args:
        generator: The generator; by default that of faces, which is fetched when it is first
            asked for.
        size: Height and width; by default the generator's own, of faces 64.

    Raises:
        ValueError: If the pixels make no such squares.
        NotFetched: If the generator of faces is not in the cache, and cannot be fetched.
    """
    generator = dcgan.faces() if generator is None else generator
    full = generator.shape[0]
    size = full if size is None else size
    if size < 1 or full % size:
        raise ValueError(f"Expected a size that divides {full}; got {size}.")
    return _Shrunk(generator, size), generator.inputs


class Faces(GeneratorManifold):
    """Faces with z ~ N(0, 1); no parameters, theta has shape (0,).

    Two directions times 3 change a face strongly.

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

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        size: int | None = None,
        scale: float = 3.0,
        generator: dcgan.DCGAN | None = None,
    ):
        super().__init__(*_of_size(generator, size), latent_dim, scale=scale, signed=True)


class ConditionalFaces(Generated):
    """Faces whose law depends on one parameter, theta ~ N(0, 1).

    z ~ N(theta a, exp(theta / 5) 1) with the unit vector a = (1, ..., 1) / sqrt(n): theta moves
    the mean and grows all widths. An image tells of it with the Fisher information
    exp(-theta / 5) + n / 50: for n = 64 and theta = 0 nearly as much by the mean as by the widths.
    With the scale 1 these are all faces of its training; times 3 they lose their greys. Arguments
    and errors are those of `Faces`.
    """

    def __init__(
        self,
        latent_dim: int = 64,
        *,
        size: int | None = None,
        scale: float = 1.0,
        generator: dcgan.DCGAN | None = None,
    ):
        super().__init__(*_of_size(generator, size), latent_dim, scale=scale, signed=True)

    @property
    def prior(self) -> Normal:
        """Theta is standard normal, of shape (1,)."""
        return Normal(jnp.zeros(1), jnp.ones(1))

    def draw(self, key: PRNGKeyArray, theta: Float[Array, " 1"]) -> Scored:
        """Coordinates of an image with their score: that of the image, as z is one to one."""
        mean, width = self._law(theta)
        z = mean + width * jr.normal(key, (self.latent_dim,))
        return Scored(z, jax.grad(self.latent_log_prob, argnums=1)(z, theta))

    def latent_log_prob(self, z: Float[Array, " n"], theta: Float[Array, " 1"]) -> Scalar:
        """Log p(z | theta)."""
        return norm.logpdf(z, *self._law(theta)).sum()

    def _law(self, theta: Float[Array, " 1"]) -> tuple[Array, Array]:
        """Mean and width of every component of z."""
        return theta / math.sqrt(self.latent_dim), jnp.exp(GROWTH * theta)
