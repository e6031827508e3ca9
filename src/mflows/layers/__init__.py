"""Layers: bijections of data space that a chart or a latent density is made of."""

from mflows.layers.circular import circular_spline_stack
from mflows.layers.conformal import Dilation, Inversion, Reflection, conformal_stack, is_conformal
from mflows.layers.placement import Placement, place, placement_of
from mflows.layers.rational_quadratic import CircularSpline, RationalQuadraticSpline
from mflows.layers.sphere_coupling import SphereCoupling, sphere_spline_stack
from mflows.layers.splines import spline_coupling, spline_stack
from mflows.layers.stack import Stack, leading, shaped

__all__ = [
    "CircularSpline",
    "Dilation",
    "Inversion",
    "Placement",
    "RationalQuadraticSpline",
    "Reflection",
    "SphereCoupling",
    "Stack",
    "circular_spline_stack",
    "conformal_stack",
    "is_conformal",
    "leading",
    "place",
    "placement_of",
    "shaped",
    "sphere_spline_stack",
    "spline_coupling",
    "spline_stack",
]
