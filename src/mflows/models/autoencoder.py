"""Free decoder and encoder networks with a flow on the codes, under two ways of training."""

import jax.random as jr
from jaxtyping import PRNGKeyArray

from mflows.charts import Encoded, Generator, Placement
from mflows.flow import Flow
from mflows.models.building import remembered, size, vector
from mflows.models.latent import spline_flow
from mflows.nets import SkipMLP


@remembered
def pae(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    conditional_chart: bool = False,
    width: int = 64,
    blocks: int = 2,
    latent_layers: int = 3,
    bins: int = 10,
    interval: float = 6.0,
) -> Flow:
    """A probabilistic autoencoder (PAE; Boehm & Seljak 2020, arXiv 2006.05479).

    Free decoder and encoder networks, trained to reconstruct, and a flow on the codes. Its
    likelihood on the manifold is exact all the same: ``log_prob`` pushes a frame forward through
    the decoder. Nothing keeps the decoder injective, where it is not, the density misses the other
    sheets.

    Args:
        key: Random key for the initial weights.
        shape: Shape (D,) of a data point.
        latent_dim: Dimension n of the manifold, 1 <= n < D.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        conditional_chart: Let the manifold depend on theta, not only the density on it.
        width: Width of decoder, encoder and conditioner networks.
        blocks: Number of residual blocks in decoder and encoder.
        latent_layers: Number of spline coupling layers of the latent density.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled codes.
    """
    return _coded(
        key,
        shape,
        latent_dim,
        cond_shape,
        conditional_chart,
        width,
        blocks,
        layers=latent_layers,
        bins=bins,
        interval=interval,
    )


@remembered
def ripf(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    conditional_chart: bool = False,
    width: int = 64,
    blocks: int = 2,
    latent_layers: int = 3,
    bins: int = 10,
    interval: float = 6.0,
) -> Flow:
    """A relaxed injective probability flow (RIPF; Kumar et al. 2020, arXiv 2002.08927).

    The parts of `pae`, trained together: codes, decoder and density by a lower bound of the
    likelihood that penalises the decoder's Jacobian, ``mflows.recipes.relaxed_injective``.
    ``log_prob`` is exact on the manifold, not the bound.

    Args:
        key: Random key for the initial weights.
        shape: Shape (D,) of a data point.
        latent_dim: Dimension n of the manifold, 1 <= n < D.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        conditional_chart: Let the manifold depend on theta, not only the density on it.
        width: Width of decoder, encoder and conditioner networks.
        blocks: Number of residual blocks in decoder and encoder.
        latent_layers: Number of spline coupling layers of the latent density.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled codes.
    """
    return _coded(
        key,
        shape,
        latent_dim,
        cond_shape,
        conditional_chart,
        width,
        blocks,
        layers=latent_layers,
        bins=bins,
        interval=interval,
    )


def _coded(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None,
    conditional_chart: bool,
    width: int,
    blocks: int,
    **settings,
) -> Flow:
    (dim,) = vector(shape)
    if not 1 <= latent_dim < dim:
        raise ValueError(
            f"Expected 1 <= latent_dim < {dim}, the number of features; got {latent_dim}."
        )
    decoder_key, encoder_key, latent_key = jr.split(key, 3)
    cond_dim = size(cond_shape)
    given = {"cond_size": cond_dim if conditional_chart else None, "width": width, "blocks": blocks}
    generator = Generator(SkipMLP(decoder_key, latent_dim, dim, **given))
    chart = Encoded(generator, SkipMLP(encoder_key, dim, latent_dim, **given))
    latent = spline_flow(latent_key, latent_dim, cond_dim, width=width, **settings)
    return Flow(chart.then(Placement.identity(dim, latent_dim)), latent)
