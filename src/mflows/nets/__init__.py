"""Neural networks that parameterise charts and densities."""

from mflows.nets.residual import ResidualMLP

__all__ = ["ResidualMLP"]
