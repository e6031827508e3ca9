"""Flows on prescribed manifolds (FOM): the chart is known, the density on it is learned."""

from collections.abc import Callable
from typing import NamedTuple

from flowjax.distributions import AbstractDistribution
from jaxtyping import PRNGKeyArray

from mflows.charts import Chart, Circle, Sphere, Torus
from mflows.flow import Flow
from mflows.latents import sphere_flow, torus_flow
from mflows.models.building import conditions, remembered, size, vector


class _Prescribed(NamedTuple):
    """A manifold that ``fom`` knows: in which dimensions, its chart, and flows on it."""

    exists_in: Callable[[int], bool]
    chart: Callable[[int], Chart]
    density: Callable[..., AbstractDistribution]


_PRESCRIBED = {
    "circle": _Prescribed(lambda dim: dim == 2, lambda dim: Circle(), torus_flow),
    "sphere": _Prescribed(lambda dim: dim > 2, lambda dim: Sphere(dim - 1), sphere_flow),
    "torus": _Prescribed(lambda dim: dim % 2 == 0, lambda dim: Torus(dim // 2), torus_flow),
}


@remembered
def fom(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    cond_shape: tuple[int, ...] | None = None,
    *,
    manifold: str,
    layers: int = 6,
    bins: int = 4,
    width: int = 32,
    blocks: int = 1,
) -> Flow:
    """A flow on a prescribed manifold (FOM): known chart, learned density on it.

    For a manifold of your own put ``Flow(chart, latent)`` together yourself, see
    docs/prescribed_manifolds.md.

    Args:
        key: Random key for the initial weights.
        shape: Shape (D,) of a data point.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        manifold: ``"circle"``, the unit circle for D = 2; ``"sphere"``, the unit sphere of
            dimension D - 1 >= 2; or ``"torus"``, a product of D / 2 unit circles. Data elsewhere
            are projected to it: ``distance`` tells.
        layers: Number of spline coupling layers.
        bins: Number of spline bins.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.

    Raises:
        ValueError: If there is no such manifold in D dimensions.
    """
    dim = vector(shape)
    there = [name for name, known in _PRESCRIBED.items() if known.exists_in(dim)]
    if manifold not in there:
        raise ValueError(
            f"Expected a manifold in {dim} dimensions, out of: {', '.join(there) or 'none'}; got "
            f"{manifold!r}. Build Flow(chart, latent) for one of your own."
        )
    chart = _PRESCRIBED[manifold].chart(dim)
    splines = dict(layers=layers, bins=bins, width=width, blocks=blocks)
    density = _PRESCRIBED[manifold].density
    latent = density(key, chart.latent_dim, cond_dim=size(cond_shape), **splines)
    return Flow(chart, latent, conditions=conditions(cond_shape))
