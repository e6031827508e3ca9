"""Flows on all of R^D: the ambient flow, and the pseudo-invertible encoder."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import Affine, Concatenate
from flowjax.distributions import StandardNormal
from jaxtyping import PRNGKeyArray

from mflows.charts import (
    BijectionChart,
    Composed,
    Pad,
    Placement,
    multiscale_stack,
    patch_stack,
    shaped,
    spline_stack,
)
from mflows.flow import Flow
from mflows.latents import Thickened
from mflows.models.building import (
    affine_if_turned,
    check_rank,
    conditions,
    coupling_parts,
    point,
    remembered,
    sees_images,
    size,
)


@partial(remembered, filled=affine_if_turned)
def ambient_flow(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    cond_shape: tuple[int, ...] | None = None,
    *,
    layers: int = 10,
    linear: bool = False,
    bins: int = 10,
    interval: float = 6.0,
    width: int = 64,
    blocks: int = 1,
    rank: int | None = None,
    tails: bool = False,
    affine: bool | None = None,
    network: str = "dense",
    channels: int = 32,
) -> Flow:
    """An ambient flow (AF): an ordinary normalizing flow on all of R^D.

    Arguments are those of `m_flow`, but for ``layers``, the number of coupling layers. With a
    ``rank`` these move so many directions, those in which the data vary most, and the others are
    normal; layers are then affine, by default, and else splines. With convolutional networks it
    has the layers of ``mflows.charts.multiscale_stack`` alone, so many at every level, with
    transformers those of ``mflows.charts.patch_stack``.
    """
    shape, dim = point(shape)
    check_rank(rank, 0, dim)
    own: Any = dict(affine=affine, interval=interval, blocks=blocks, cond_dim=size(cond_shape))
    own |= {"layers": layers, "bins": bins}
    turned = 0
    if sees_images(network, shape):
        if rank is not None:
            raise ValueError(f"Expected no rank for an ambient flow with {network} networks.")
        if network == "convolutional":
            stack = multiscale_stack(key, shape, width=channels, **own)
        else:
            stack = patch_stack(key, shape, width=width, **own)
    else:
        bent = rank or dim
        stack = spline_stack(key, bent, linear=linear, width=width, **own)
        if bent < dim:
            normal = Affine(jnp.zeros(dim - bent), jnp.ones(dim - bent))
            stack, turned = Concatenate([stack, normal]), bent
    chart = BijectionChart(shaped(stack, shape)).then(
        Placement.identity(shape, turned, tails=tails)
    )
    return Flow(chart, StandardNormal((dim,)), conditions=conditions(cond_shape))


@partial(remembered, filled=affine_if_turned)
def pie(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    conditional_chart: bool = False,
    noise: float = 0.01,
    chart_layers: int = 5,
    latent_layers: int = 5,
    linear: bool = False,
    bins: int = 10,
    interval: float = 6.0,
    width: int = 64,
    blocks: int = 1,
    rank: int | None = None,
    tails: bool = False,
    affine: bool | None = None,
    network: str = "dense",
    channels: int = 32,
    image_layers: int = 4,
) -> Flow:
    r"""A pseudo-invertible encoder (PIE; Beitler et al. 2021): an ambient flow with a thin axis.

        x = f(u),    p(u) = p_M(u_1 .. u_n) prod_{i > n} N(u_i; 0, eps^2)

    Its density is ambient. Maximum likelihood aligns the first n coordinates with the directions
    of large variance, no term asks for a good reconstruction. `on_manifold` gives its sheet
    f(u_1 .. u_n, 0) as a flow of its own.

    Arguments are those of `m_flow`, with f for the chart and p_M for the latent density. ``noise``
    is the standard deviation eps, in units of the scaled data. By default the layers of f are
    affine where there is a ``rank`` or a network of images, and else splines.
    """
    shape, dim = point(shape)
    splines: Any = dict(
        linear=linear,
        bins=bins,
        interval=interval,
        width=width,
        blocks=blocks,
        rank=rank,
        tails=tails,
        affine=affine,
        network=network,
        channels=channels,
        image_layers=image_layers,
    )
    layers = chart_layers, latent_layers
    bijection, placement, along = coupling_parts(
        jr.split(key), shape, latent_dim, cond_shape, conditional_chart, layers, **splines
    )
    chart = BijectionChart(bijection).then(placement)
    latent = Thickened(along, dim, noise=noise)
    return Flow(chart, latent, conditions=conditions(cond_shape))


def on_manifold(flow: Flow) -> Flow:
    """The sheet of a pseudo-invertible encoder, with the density p_M on it.

    Its ``distance`` is the reconstruction error of PIE, its ``log_prob`` is with respect to
    n-dimensional volume. It shares the arrays of ``flow``; it cannot be saved, save ``flow``.

    Raises:
        TypeError: If the latent density of ``flow`` is not `mflows.latents.Thickened`.
    """
    if not isinstance(flow.latent, Thickened) or not isinstance(flow.chart, BijectionChart):
        raise TypeError(
            "Expected a pseudo-invertible encoder, as built by mflows.models.pie; got a flow with "
            f"latent density {type(flow.latent).__name__}."
        )
    plane = Pad(flow.latent.latent_dim, flow.shape)
    chart = Composed(plane, flow.chart.bijection)
    return Flow(chart, flow.latent.along, conditions=flow.conditions)
