"""Generative adversarial network (Goodfellow et al. 2014, arXiv 1406.2661)."""

import jax.random as jr
from flowjax.distributions import StandardNormal
from jaxtyping import PRNGKeyArray

from mflows.charts import Generator, Inverted, Placement
from mflows.flow import Flow
from mflows.models.building import remembered, size, vector
from mflows.nets import SkipMLP


@remembered
def gan(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    width: int = 64,
    blocks: int = 2,
    starts: int = 64,
) -> Flow:
    """The generator of a GAN, as a chart: its samples lie on a manifold.

    There is no encoder: points are inverted by nonlinear least squares, which gives ``encode``,
    ``project`` and ``distance``. The density of its samples follows exactly by pushforward, at the
    point that the inversion finds. Given a condition, the generator depends on it.

    Args:
        key: Random key for the initial weights.
        shape: Shape (D,) of a data point.
        latent_dim: Dimension n of the manifold, 1 <= n < D.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        width: Width of the generator network.
        blocks: Number of residual blocks of the generator network.
        starts: Number of latent points among which the inversion chooses where to start.
    """
    (dim,) = vector(shape)
    if not 1 <= latent_dim < dim:
        raise ValueError(
            f"Expected 1 <= latent_dim < {dim}, the number of features; got {latent_dim}."
        )
    generator_key, starts_key = jr.split(key)
    network = SkipMLP(
        generator_key, latent_dim, dim, cond_size=size(cond_shape), width=width, blocks=blocks
    )
    chart = Inverted(Generator(network), starts_key, starts=starts)
    return Flow(chart.then(Placement.identity(dim, latent_dim)), StandardNormal((latent_dim,)))
