"""Manifold-learning flows: a flow is a latent density seen through a chart.

    x = g(u),  u in R^n,  x in R^D,  n <= D
    log p(x) = log p_U(u) - 1/2 log det(J^T J),  u = e(x),  J = dg/du

Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mflows.version import __version__

if TYPE_CHECKING:
    from mflows import (
        charts,
        data,
        inference,
        latents,
        metrics,
        models,
        runs,
        simulators,
        sweeps,
        systems,
        training,
        volume,
    )
    from mflows.estimator import ManifoldFlow
    from mflows.flow import Flow
    from mflows.riemannian import distance_matrix, frechet_mean, geodesic, principal_geodesic
    from mflows.saving import load, save
    from mflows.training import fit, recipes

__all__ = [
    "Flow",
    "ManifoldFlow",
    "__version__",
    "charts",
    "data",
    "distance_matrix",
    "fit",
    "frechet_mean",
    "geodesic",
    "inference",
    "latents",
    "load",
    "metrics",
    "models",
    "principal_geodesic",
    "recipes",
    "runs",
    "save",
    "simulators",
    "sweeps",
    "systems",
    "training",
    "volume",
]

_HOMES = {
    "Flow": "mflows.flow",
    "ManifoldFlow": "mflows.estimator",
    "distance_matrix": "mflows.riemannian",
    "fit": "mflows.training",
    "frechet_mean": "mflows.riemannian",
    "geodesic": "mflows.riemannian",
    "load": "mflows.saving",
    "principal_geodesic": "mflows.riemannian",
    "recipes": "mflows.training",
    "save": "mflows.saving",
}


def __getattr__(name: str):
    # Everything on demand: JAX and scikit-learn are slow to import, and `mflows --help` needs none.
    if name not in __all__:
        raise AttributeError(f"module 'mflows' has no attribute {name!r}")
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        value = import_module(f"mflows.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
