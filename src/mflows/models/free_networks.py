"""Free networks as decoders: autoencoders with a flow on the codes, and adversarial ones."""

import inspect
from functools import partial
from typing import Any

import jax.random as jr
from flowjax.distributions import StandardNormal
from jaxtyping import PRNGKeyArray

from mflows.charts import Encoded, Generator, Inverted
from mflows.charts.chart import check_latent_dim
from mflows.flow import Flow
from mflows.models.building import (
    by_size,
    conditions,
    decoder,
    encoder,
    placement_for,
    point,
    remembered,
    size,
    spline_flow,
)


@partial(remembered, filled=by_size)
def pae(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    conditional_chart: bool = False,
    width: int = 64,
    blocks: int = 2,
    latent_layers: int | None = None,
    bins: int | None = None,
    interval: float = 6.0,
    tails: bool = False,
    network: str = "dense",
) -> Flow:
    """A probabilistic autoencoder (PAE; Boehm & Seljak 2020, arXiv 2006.05479).

    Free decoder and encoder networks, trained to reconstruct, and a flow on the codes. Its
    likelihood on the manifold is exact all the same: ``log_prob`` pushes a frame forward through
    the decoder. Nothing keeps the decoder injective, where it is not, the density misses the other
    sheets.

    Args:
        key: Random key for the initial weights.
        shape: Shape of a data point, of D features.
        latent_dim: Dimension n of the manifold, 1 <= n < D.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        conditional_chart: Let the manifold depend on theta, not only the density on it.
        width: Width of decoder, encoder and conditioner networks.
        blocks: Number of residual blocks in decoder and encoder.
        latent_layers: Number of spline coupling layers of the latent density; ``None``, as of
            ``bins``, for what serves data of D features (`by_size`).
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled codes.
        tails: Give columns the heavy tails that their data have (``mflows.layers.tails``).
        network: ``"convolutional"`` for images (H, W, C): decoder and encoder double and halve
            them, with ``width`` channels where they are largest. ``"transformer"``: they are
            transformers of patches.
    """
    shape, dim = point(shape)
    check_latent_dim(latent_dim, dim)
    decoder_key, encoder_key, latent_key = jr.split(key, 3)
    cond_dim = size(cond_shape)
    given: Any = {
        "cond_size": cond_dim if conditional_chart else None,
        "width": width,
        "blocks": blocks,
        "network": network,
    }
    generator = Generator(decoder(decoder_key, latent_dim, shape, **given), shape)
    chart = Encoded(generator, encoder(encoder_key, shape, latent_dim, **given))
    settings: Any = {"layers": latent_layers, "bins": bins, "interval": interval, "width": width}
    latent = spline_flow(latent_key, latent_dim, cond_dim, **settings)
    chart = chart.then(placement_for(network, shape, latent_dim, tails=tails))
    return Flow(chart, latent, conditions=conditions(cond_shape))


ripf = remembered(inspect.unwrap(pae), name="ripf", filled=by_size)
ripf.__doc__ = """A relaxed injective probability flow (RIPF; Kumar et al. 2020, arXiv 2002.08927).

The parts and arguments of `pae`, trained together: codes, decoder and density by a lower bound of
the likelihood that penalises the decoder's Jacobian, ``mflows.recipes.relaxed_injective``.
``log_prob`` is exact on the manifold, not the bound.
"""


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
    tails: bool = False,
    network: str = "dense",
) -> Flow:
    """The generator of a GAN, as a chart: its samples lie on a manifold.

    There is no encoder: points are inverted by nonlinear least squares, which gives ``encode``,
    ``project`` and ``distance``. The density of its samples follows exactly by pushforward, at the
    point that the inversion finds. Given a condition, the generator depends on it.

    Arguments are those of `pae`; ``width`` and ``blocks`` are those of the generator network.
    ``starts`` is the number of latent points among which the inversion chooses where to start.
    """
    shape, dim = point(shape)
    check_latent_dim(latent_dim, dim)
    generator_key, starts_key = jr.split(key)
    given: Any = {"cond_size": size(cond_shape), "width": width, "blocks": blocks}
    own = decoder(generator_key, latent_dim, shape, network=network, **given)
    chart = Inverted(Generator(own, shape), starts_key, starts=starts)
    chart = chart.then(placement_for(network, shape, latent_dim, tails=tails))
    return Flow(chart, StandardNormal((latent_dim,)), conditions=conditions(cond_shape))
