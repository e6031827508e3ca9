"""Neural networks that parameterise charts and densities."""

from mflows.nets.angular import AngularMLP
from mflows.nets.gaussian import GaussianEncoder
from mflows.nets.linear import Linear, full_precision
from mflows.nets.residual import DEEPEST, ResidualMLP
from mflows.nets.skip import SkipMLP

__all__ = [
    "DEEPEST",
    "AngularMLP",
    "GaussianEncoder",
    "Linear",
    "ResidualMLP",
    "SkipMLP",
    "full_precision",
]
