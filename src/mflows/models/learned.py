"""M-flows: a learned manifold and a learned density on it, without and with an encoder network."""

from functools import partial
from typing import Any

import jax.random as jr
from jaxtyping import PRNGKeyArray

from mflows.charts import Encoded, Pad
from mflows.flow import Flow
from mflows.models.building import (
    by_size,
    conditions,
    coupling_parts,
    encoder,
    point,
    remembered,
    size,
)


@partial(remembered, filled=by_size)
def m_flow(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    conditional_chart: bool = False,
    chart_layers: int | None = None,
    latent_layers: int | None = None,
    linear: bool | None = None,
    bins: int | None = None,
    interval: float = 6.0,
    width: int = 64,
    blocks: int | None = None,
    rank: int | None = None,
    tails: bool = False,
    affine: bool | None = None,
    network: str = "dense",
    channels: int = 32,
    image_layers: int = 4,
) -> Flow:
    """An M-flow (Brehmer & Cranmer 2020): learned manifold, learned density on it.

    Args:
        key: Random key for the initial weights.
        shape: Shape of a data point, of D features.
        latent_dim: Dimension n of the manifold, 1 <= n < D.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        conditional_chart: Let the manifold depend on theta, not only the density on it.
        chart_layers: Number of coupling layers of the chart. It is ``None``, as are the next three,
            ``blocks`` and ``affine``, for what serves data of D features (`by_size`).
        latent_layers: Number of spline coupling layers of the latent density.
        linear: Put a learned LU map before every coupling layer.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled data.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.
        rank: Let the manifold bend in so many directions only, those in which the data vary most,
            n < rank <= D; ``None`` is D. N points span N - 1 directions: where D is larger, this
            rank loses nothing and costs less. The command line, the estimator and sweeps take it.
        tails: Give columns the heavy tails that their data have (``mflows.layers.tails``).
        affine: Scale and shift coordinates in the chart (``mflows.layers.affine``), in place of
            splines.
        network: ``"convolutional"`` for images (H, W, C): after the layers above, which bend in
            ``rank`` directions, by default 64 or 4 n, the chart has those of
            ``mflows.charts.multiscale_stack``. ``"transformer"``: those of
            ``mflows.charts.patch_stack``, of this ``width`` and these ``blocks``.
        channels: Channels of convolutional networks.
        image_layers: Number of layers of convolutional networks at every level of the image, or of
            transformers.
    """
    shape, _ = point(shape)
    plane = Pad(latent_dim, shape)
    splines: Any = dict(
        linear=linear,
        bins=bins,
        interval=interval,
        width=width,
        blocks=blocks,
        rank=rank,
        affine=affine,
        tails=tails,
        network=network,
        channels=channels,
        image_layers=image_layers,
    )
    layers: Any = chart_layers, latent_layers
    bijection, placement, latent = coupling_parts(
        jr.split(key), shape, latent_dim, cond_shape, conditional_chart, layers, **splines
    )
    chart = plane.then(bijection).then(placement)
    return Flow(chart, latent, conditions=conditions(cond_shape))


@partial(remembered, filled=by_size)
def me_flow(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    conditional_chart: bool = False,
    chart_layers: int | None = None,
    latent_layers: int | None = None,
    linear: bool | None = None,
    bins: int | None = None,
    interval: float = 6.0,
    width: int = 64,
    blocks: int | None = None,
    encoder_width: int = 64,
    encoder_blocks: int = 2,
    rank: int | None = None,
    tails: bool = False,
    affine: bool | None = None,
    network: str = "dense",
    channels: int = 32,
    image_layers: int = 4,
) -> Flow:
    """An M_e-flow (Brehmer & Cranmer 2020): an M-flow whose encoder is a network of its own.

    Decoder and density are those of `m_flow`; the encoder need not invert the decoder, so it is
    free to find the best coordinates of points off the manifold. ``encoder_width`` and
    ``encoder_blocks`` are those of the encoder network; other arguments are those of `m_flow`.
    """
    shape, _ = point(shape)
    chart_key, encoder_key, latent_key = jr.split(key, 3)
    plane = Pad(latent_dim, shape)
    splines: Any = dict(
        linear=linear,
        bins=bins,
        interval=interval,
        width=width,
        blocks=blocks,
        rank=rank,
        affine=affine,
        tails=tails,
        network=network,
        channels=channels,
        image_layers=image_layers,
    )
    layers: Any = chart_layers, latent_layers
    bijection, placement, latent = coupling_parts(
        (chart_key, latent_key), shape, latent_dim, cond_shape, conditional_chart, layers, **splines
    )
    given: Any = {"cond_size": size(cond_shape) if conditional_chart else None}
    sizes: Any = {"width": encoder_width, "blocks": encoder_blocks, "network": network}
    own = encoder(encoder_key, shape, latent_dim, **given, **sizes)
    chart = Encoded(plane.then(bijection), own).then(placement)
    return Flow(chart, latent, conditions=conditions(cond_shape))
