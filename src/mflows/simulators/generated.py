r"""Points of a generator on a manifold of few dimensions, with a known density.

    x = G(c + s B z),    z ~ p(z) in R^n,    B^T B = 1,  B^T c = 0

G is a network, or any function of JAX, from a latent vector to an image or a vector. n random
orthonormal directions B of its latent space vary, the rest c is fixed, as in Brehmer & Cranmer
2020 (arXiv 2003.13913). The density of x with respect to n-dimensional volume is exact
(`Immersion`).
"""

import math
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.distributions import AbstractDistribution, StandardNormal, Uniform
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from mflows.simulators.immersion import Immersion
from mflows.simulators.simulator import Scored

SEED = 0  # of the directions and of what is fixed


class Generated(Immersion):
    """Interface of points of a generator; subclasses say how z is distributed.

    Args:
        generator: A function of JAX from a latent vector, shape (inputs,), to a point. Weights are
            best held by an Equinox module: those of a plain function are compiled into programs.
        inputs: Number of latent variables of the generator.
        latent_dim: Number of directions n.
        scale: s, the latent vector's change by one unit of z.
        signed: Whether the generator's values, from -1 to 1 as those of a tanh, are to become
            (1 + G) / 2, from 0 to 1. By default they stay as they are.

    Raises:
        ValueError: If there are not so many directions, the points have fewer numbers, or the scale
            is not positive.
    """

    generator: Callable[[Array], Array]
    directions: Float[Array, "inputs n"]
    rest: Float[Array, " inputs"]
    latent_dim: int
    shape: tuple[int, ...]
    scale: float = eqx.field(static=True)
    signed: bool = eqx.field(static=True)

    def __init__(
        self,
        generator: Callable[[Array], Array],
        inputs: int,
        latent_dim: int,
        *,
        scale: float,
        signed: bool,
    ):
        if not 1 <= latent_dim <= inputs:
            raise ValueError(f"Expected 1 <= latent_dim <= {inputs}; got {latent_dim}.")
        if not 0 < scale < math.inf:
            raise ValueError(f"Expected a scale > 0; got {scale}.")
        point = eqx.filter_eval_shape(
            generator, jax.ShapeDtypeStruct((inputs,), jnp.zeros(0).dtype)
        )
        if (
            not isinstance(point, jax.ShapeDtypeStruct)
            or point.size < latent_dim
            or not point.shape
        ):
            raise ValueError(
                f"Expected a generator of points of {latent_dim} numbers or more, an array of JAX; "
                f"got {getattr(point, 'shape', type(point).__name__)}."
            )
        rng = np.random.default_rng(SEED)
        # The first n of all directions, so that the directions of n are among those of n + 1.
        turn, triangle = np.linalg.qr(rng.normal(size=(inputs, inputs)))
        turn *= np.sign(np.diag(triangle))  # unique, whatever computed it
        fixed = np.where(np.arange(inputs) < latent_dim, 0.0, rng.normal(size=inputs))
        self.generator = generator
        self.directions = jnp.asarray(turn[:, :latent_dim], dtype=float)
        self.rest = jnp.asarray(turn @ fixed, dtype=float)
        self.latent_dim, self.shape = latent_dim, point.shape
        self.scale, self.signed = float(scale), signed

    def render(self, z: Float[Array, " n"]) -> Float[Array, "..."]:
        """The point at z."""
        move = jnp.matmul(self.directions, z, precision="highest")
        x = self.generator(self.rest + self.scale * move)
        return (1 + x) / 2 if self.signed else x


class GeneratorManifold(Generated):
    """Points of any generator, with a density that is known exactly.

    No parameters: theta has shape (0,). Methods broadcast over leading axes: z has shape (..., n),
    x shape (..., *shape). The generator has to be one to one and differentiable almost everywhere
    along the directions, or densities are those of one sheet of several.

    Args:
        generator: As for `Generated`.
        inputs: Number of latent variables of the generator.
        latent_dim: Number of directions n; ``inputs`` for all of them.
        scale: s. With 1, standard normal z and n = inputs, points are those that a generator draws
            which was trained on standard normal latent vectors.
        signed: As for `Generated`.
        latent: Distribution of z, shape (n,); by default standard normal.

    Raises:
        ValueError: As for `Generated`, or if ``latent`` has another shape.
    """

    latent: AbstractDistribution

    def __init__(
        self,
        generator: Callable[[Array], Array],
        inputs: int,
        latent_dim: int = 2,
        *,
        scale: float = 1.0,
        signed: bool = False,
        latent: AbstractDistribution | None = None,
    ):
        super().__init__(generator, inputs, latent_dim, scale=scale, signed=signed)
        self.latent = StandardNormal((latent_dim,)) if latent is None else latent
        if self.latent.shape != (latent_dim,) or self.latent.cond_shape is not None:
            raise ValueError(
                f"Expected a latent distribution of shape ({latent_dim},) without a condition; got "
                f"{self.latent.shape}, condition {self.latent.cond_shape}."
            )

    @property
    def prior(self) -> Uniform:
        """The distribution of no parameters, of shape (0,)."""
        return Uniform(jnp.zeros(0), jnp.ones(0))

    def draw(self, key: PRNGKeyArray, theta: Float[Array, " 0"]) -> Scored:
        """Coordinates of a point; there is nothing to score."""
        return Scored(self.latent.sample(key), theta)

    def latent_log_prob(self, z: Float[Array, " n"], theta: Float[Array, " 0"]) -> Scalar:
        """Log p(z)."""
        return self.latent.log_prob(z)


def onnx_generator(
    path: str | Path,
    latent_dim: int = 2,
    *,
    scale: float = 1.0,
    signed: bool = False,
    channels_last: bool = False,
) -> GeneratorManifold:
    """The manifold of a generator in an ONNX file, as PyTorch and others export it.

    Args:
        path: The file. Its network has one input, the latent vector of shape (1, N) or
            (1, N, 1, 1), and one output. Images (1, C, H, W) become points (H, W, C).
        latent_dim: As for `GeneratorManifold`; so are ``scale`` and ``signed``.
        scale: The latent vector's change by one unit of z.
        signed: Whether its values, from -1 to 1, are to become values from 0 to 1.
        channels_last: Whether images come as (1, H, W, C).

    Raises:
        ModuleNotFoundError: If the package ``onnx`` is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such network, it has operators that are not known, or as for
            `GeneratorManifold`.
    """
    from mflows.pretrained.onnx import load

    network = load(path, channels_last=channels_last)
    return GeneratorManifold(network, network.inputs, latent_dim, scale=scale, signed=signed)
