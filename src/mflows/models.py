r"""Named ways to build a flow: which chart, which latent density.

| function       | chart                                  | latent density          |
|----------------|----------------------------------------|-------------------------|
| `ambient_flow` | spline coupling bijection, n = D       | standard normal         |
| `m_flow`       | spline coupling bijection after padding| spline flow on R^n      |

No data enter here: scaling and the starting plane are chosen by ``mflows.fit``. The manifold does
not depend on the condition theta unless ``conditional_chart`` says so; the latent density does.
"""

import inspect
import json
from collections.abc import Callable
from functools import wraps

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from flowjax.bijections import Chain, Invert
from flowjax.distributions import StandardNormal, Transformed
from jaxtyping import PRNGKeyArray

from mflows.charts import BijectionChart, Pad, Placement, spline_stack
from mflows.flow import Flow


def _remembered(build: Callable[..., Flow]) -> Callable[..., Flow]:
    """Let the flow remember name and arguments of its builder, so that it can be rebuilt."""
    signature = inspect.signature(build)
    compiled = eqx.filter_jit(build)  # one program, not one for each random draw

    @wraps(build)
    def builder(key: PRNGKeyArray, *args, **kwargs) -> Flow:
        bound = signature.bind(key, *args, **kwargs)
        bound.apply_defaults()
        arguments = {name: value for name, value in bound.arguments.items() if name != "key"}
        arguments = jax.tree.map(_plain, arguments)
        flow = compiled(key, **arguments)
        return Flow(
            flow.chart,
            flow.latent,
            flow.volume,
            built=(build.__name__, json.dumps(arguments, sort_keys=True)),
        )

    return builder


def _plain(setting):
    """A setting as Python has it, not NumPy, which would be traced and is not JSON."""
    return setting.tolist() if isinstance(setting, np.generic | np.ndarray) else setting


@_remembered
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
        shape: Shape (D,) of a data point.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        layers: Number of spline coupling layers.
        linear: Put a learned LU map before every coupling layer.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled data.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.
    """
    (dim,) = _vector(shape)
    bijection = spline_stack(
        key,
        dim,
        cond_dim=_size(cond_shape),
        layers=layers,
        linear=linear,
        bins=bins,
        interval=interval,
        width=width,
        blocks=blocks,
    )
    chart = BijectionChart(bijection).then(Placement.identity(dim))
    return Flow(chart, StandardNormal((dim,)))


@_remembered
def m_flow(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    conditional_chart: bool = False,
    chart_layers: int = 3,
    latent_layers: int = 3,
    linear: bool = False,
    bins: int = 10,
    interval: float = 6.0,
    width: int = 64,
    blocks: int = 1,
) -> Flow:
    """An M-flow (Brehmer & Cranmer 2020): learned manifold, learned density on it.

    Args:
        key: Random key for the initial weights.
        shape: Shape (D,) of a data point.
        latent_dim: Dimension n of the manifold, 1 <= n < D.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        conditional_chart: Let the manifold depend on theta, not only the density on it.
        chart_layers: Number of spline coupling layers of the chart.
        latent_layers: Number of spline coupling layers of the latent density.
        linear: Put a learned LU map before every coupling layer.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled data.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.
    """
    (dim,) = _vector(shape)
    chart_key, latent_key = jr.split(key)
    settings = {
        "linear": linear,
        "bins": bins,
        "interval": interval,
        "width": width,
        "blocks": blocks,
    }
    chart = (
        Pad(latent_dim, dim)
        .then(
            spline_stack(
                chart_key,
                dim,
                cond_dim=_size(cond_shape) if conditional_chart else None,
                layers=chart_layers,
                **settings,
            )
        )
        .then(Placement.identity(dim))
    )
    latent_bijection = spline_stack(
        latent_key, latent_dim, cond_dim=_size(cond_shape), layers=latent_layers, **settings
    )
    latent = Transformed(
        StandardNormal((latent_dim,)),
        Chain([Invert(latent_bijection), Placement.identity(latent_dim)]),
    )
    return Flow(chart, latent)


BUILDERS: dict[str, Callable[..., Flow]] = {
    "ambient_flow": ambient_flow,
    "m_flow": m_flow,
}


def rebuild(key: PRNGKeyArray, built: tuple[str, str], **changes) -> Flow:
    """Build a flow like the one with ``flow.built == built``, with some arguments changed."""
    name, arguments = built
    return BUILDERS[name](key, **{**json.loads(arguments), **changes})


def _vector(shape) -> tuple[int]:
    if len(shape) != 1:
        raise ValueError(f"Expected the shape (D,) of a vector; got {tuple(shape)}.")
    return (int(shape[0]),)


def _size(cond_shape) -> int | None:
    return None if cond_shape is None else _vector(cond_shape)[0]
