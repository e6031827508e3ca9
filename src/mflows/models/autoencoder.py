"""Models with a free decoder network: the probabilistic autoencoder."""

import jax.random as jr
from jaxtyping import PRNGKeyArray

from mflows.charts import Chart, Encoded, Generator, Placement
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
    (dim,) = vector(shape)
    chart_key, latent_key = jr.split(key)
    cond_dim = size(cond_shape)
    chart = autoencoder(
        chart_key, dim, latent_dim, cond_dim if conditional_chart else None, width, blocks
    )
    latent = spline_flow(
        latent_key,
        latent_dim,
        cond_dim,
        layers=latent_layers,
        bins=bins,
        interval=interval,
        width=width,
    )
    return Flow(chart, latent)


def autoencoder(
    key: PRNGKeyArray, dim: int, latent_dim: int, cond_dim: int | None, width: int, blocks: int
) -> Chart:
    """Free decoder and encoder networks, placed on the data before training."""
    if not 1 <= latent_dim < dim:
        raise ValueError(
            f"Expected 1 <= latent_dim < {dim}, the number of features; got {latent_dim}."
        )
    decoder_key, encoder_key = jr.split(key)
    given = {"cond_size": cond_dim, "width": width, "blocks": blocks}
    generator = Generator(SkipMLP(decoder_key, latent_dim, dim, **given))
    encoder = SkipMLP(encoder_key, dim, latent_dim, **given)
    return Encoded(generator, encoder).then(Placement.identity(dim))
