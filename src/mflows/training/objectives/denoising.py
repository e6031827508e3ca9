r"""Density on a manifold from an ambient flow, by inflation and deflation.

Noise of standard deviation sigma spreads a density p on an n-dimensional manifold into space, where
an ambient flow q can learn it by maximum likelihood. If the noise is small against the manifold's
curvature and the density's own scale, then on the manifold

    p(x) = q(x) (2 pi sigma^2)^((D - n)/2)

(Horvat & Pfister 2021, arXiv 2105.12152). The error is of order sigma^2.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, ArrayLike

from mflows.flow import Flow
from mflows.training.objectives.likelihood import NegativeLogLikelihood
from mflows.training.phases import Batch


@dataclass(frozen=True)
class NoisyLikelihood:
    """Mean of -log q(x + sigma eps) of an ambient flow, with fresh noise at every step.

    Args:
        sigma: Standard deviation of the noise, in the data's own units.
    """

    centred: ClassVar = True
    sigma: float

    def __post_init__(self):
        if not self.sigma > 0:
            raise ValueError(f"Expected sigma > 0, a standard deviation; got {self.sigma}.")

    def __call__(self, flow, batch: Batch, key):
        noise = jr.normal(key, batch.x.shape, batch.x.dtype)
        return NegativeLogLikelihood()(flow, batch._replace(x=batch.x + self.sigma * noise), key)


def deflated_log_prob(
    flow: Flow,
    x: ArrayLike,
    condition: ArrayLike | None = None,
    *,
    sigma: float,
    latent_dim: int,
) -> Array:
    """Log-density on the manifold at points of it, from an ambient flow of noisy data.

    Args:
        flow: An ambient flow that was trained by ``mflows.recipes.denoising``.
        x: Points on the manifold, shape (..., *shape).
        condition: Their conditions, if the flow has them.
        sigma: Standard deviation of the noise it was trained with.
        latent_dim: Dimension n of the manifold.

    Raises:
        ValueError: If the flow is not ambient, or n is not below D.
    """
    dim = math.prod(flow.shape)
    if flow.latent_dim != dim or not 1 <= latent_dim < dim:
        raise ValueError(
            f"Expected an ambient flow and 1 <= latent_dim < {dim}; got a flow on a manifold of "
            f"{flow.latent_dim} dimensions and latent_dim = {latent_dim}."
        )
    missing = (dim - latent_dim) / 2 * math.log(2 * math.pi * sigma**2)
    return jnp.asarray(flow.log_prob(x, condition)) + missing
