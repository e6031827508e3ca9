"""Flows on all of R^D: the ambient flow, and the pseudo-invertible encoder."""

import jax.random as jr
from flowjax.distributions import StandardNormal
from jaxtyping import PRNGKeyArray

from mflows.charts import BijectionChart, Composed, Pad, Placement, shaped, spline_stack
from mflows.flow import Flow
from mflows.latents import Thickened
from mflows.models.building import point, remembered, size, spline_flow


@remembered
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
) -> Flow:
    """An ambient flow (AF): an ordinary normalizing flow on all of R^D.

    Args:
        key: Random key for the initial weights.
        shape: Shape of a data point, of D features.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        layers: Number of spline coupling layers.
        linear: Put a learned LU map before every coupling layer.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled data.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.
    """
    shape, dim = point(shape)
    bijection = spline_stack(
        key,
        dim,
        cond_dim=size(cond_shape),
        layers=layers,
        linear=linear,
        bins=bins,
        interval=interval,
        width=width,
        blocks=blocks,
    )
    chart = BijectionChart(shaped(bijection, shape)).then(Placement.identity(shape))
    return Flow(chart, StandardNormal((dim,)))


@remembered
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
) -> Flow:
    r"""A pseudo-invertible encoder (PIE; Beitler et al. 2021): an ambient flow with a thin axis.

        x = f(u),    p(u) = p_M(u_1 .. u_n) prod_{i > n} N(u_i; 0, eps^2)

    Its density is ambient. Maximum likelihood aligns the first n coordinates with the directions
    of large variance, no term asks for a good reconstruction. `on_manifold` gives its sheet
    f(u_1 .. u_n, 0) as a flow of its own.

    Args:
        key: Random key for the initial weights.
        shape: Shape of a data point, of D features.
        latent_dim: Dimension n of the sheet, 1 <= n < D.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        conditional_chart: Let f depend on theta, not only p_M.
        noise: Standard deviation eps, in units of the scaled data.
        chart_layers: Number of spline coupling layers of f.
        latent_layers: Number of spline coupling layers of p_M.
        linear: Put a learned LU map before every coupling layer.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled data.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.
    """
    shape, dim = point(shape)
    chart_key, latent_key = jr.split(key)
    settings = {
        "linear": linear,
        "bins": bins,
        "interval": interval,
        "width": width,
        "blocks": blocks,
    }
    cond_dim = size(cond_shape)
    chart_cond = cond_dim if conditional_chart else None
    stack = spline_stack(chart_key, dim, cond_dim=chart_cond, layers=chart_layers, **settings)
    along = spline_flow(latent_key, latent_dim, cond_dim, layers=latent_layers, **settings)
    latent = Thickened(along, dim, noise=noise)
    return Flow(
        BijectionChart(shaped(stack, shape)).then(Placement.identity(shape, latent_dim)), latent
    )


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
    return Flow(Composed(plane, flow.chart.bijection), flow.latent.along)
