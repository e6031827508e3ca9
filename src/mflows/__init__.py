"""Manifold-learning flows: a flow is a latent density seen through a chart.

    x = g(u),  u in R^n,  x in R^D,  n <= D
    log p(x) = log p_U(u) - 1/2 log det(J^T J),  u = e(x),  J = dg/du
"""

from typing import TYPE_CHECKING

from mflows import charts, data, models, simulators, training, volume
from mflows.flow import Flow
from mflows.saving import load, save
from mflows.training import fit, recipes
from mflows.version import __version__

if TYPE_CHECKING:
    from mflows.estimator import ManifoldFlow

__all__ = [
    "Flow",
    "ManifoldFlow",
    "__version__",
    "charts",
    "data",
    "fit",
    "load",
    "models",
    "recipes",
    "save",
    "simulators",
    "training",
    "volume",
]


def __getattr__(name: str):
    # scikit-learn is slow to import and only the estimator needs it.
    if name == "ManifoldFlow":
        from mflows.estimator import ManifoldFlow

        return ManifoldFlow
    raise AttributeError(f"module 'mflows' has no attribute {name!r}")
