"""Layers: bijections of data space that a chart or a latent density is made of."""

from mflows.layers.circular import circular_spline_stack
from mflows.layers.conformal import (
    Dilation,
    Inversion,
    Reflection,
    SpecialConformal,
    conformal_stack,
    is_conformal,
)
from mflows.layers.multiscale import multiscale_stack
from mflows.layers.patches import patch_stack
from mflows.layers.placement import (
    Placement,
    outermost,
    place,
    placement_of,
    scale_of,
    unit_of,
)
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
    "SpecialConformal",
    "SphereCoupling",
    "Stack",
    "circular_spline_stack",
    "conformal_stack",
    "is_conformal",
    "leading",
    "multiscale_stack",
    "outermost",
    "patch_stack",
    "place",
    "placement_of",
    "scale_of",
    "shaped",
    "sphere_spline_stack",
    "spline_coupling",
    "spline_stack",
    "unit_of",
]
