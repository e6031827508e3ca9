"""Charts: what a manifold is, how tangents are carried along it, and the layers of both."""

from mflows.charts.autoencoder import (
    Encoded,
    Generator,
    Inverted,
    NoisyGenerator,
    without_encoder,
)
from mflows.charts.chart import (
    BijectionChart,
    Chart,
    Composed,
    HasLogVolume,
    Pad,
    Unavailable,
    is_padded,
    unplaced,
)
from mflows.charts.function_chart import FunctionChart
from mflows.charts.product import Product
from mflows.charts.sphere import Sphere
from mflows.charts.torus import Circle, Torus
from mflows.layers.circular import circular_spline_stack
from mflows.layers.conformal import (
    Dilation,
    Inversion,
    Reflection,
    conformal_stack,
    is_conformal,
)
from mflows.layers.multiscale import multiscale_stack
from mflows.layers.patches import patch_stack
from mflows.layers.placement import Placement, place, placement_of, placements_of
from mflows.layers.rational_quadratic import CircularSpline, RationalQuadraticSpline
from mflows.layers.sphere_coupling import SphereCoupling, sphere_spline_stack
from mflows.layers.splines import spline_coupling, spline_stack
from mflows.layers.stack import shaped
from mflows.tangents import condition_for, push_conormals, pushforward

__all__ = [
    "BijectionChart",
    "Chart",
    "Circle",
    "CircularSpline",
    "Composed",
    "Dilation",
    "Encoded",
    "FunctionChart",
    "Generator",
    "HasLogVolume",
    "Inversion",
    "Inverted",
    "NoisyGenerator",
    "Pad",
    "Placement",
    "Product",
    "RationalQuadraticSpline",
    "Reflection",
    "Sphere",
    "SphereCoupling",
    "Torus",
    "Unavailable",
    "circular_spline_stack",
    "condition_for",
    "conformal_stack",
    "is_conformal",
    "is_padded",
    "multiscale_stack",
    "patch_stack",
    "place",
    "placement_of",
    "placements_of",
    "push_conormals",
    "pushforward",
    "shaped",
    "sphere_spline_stack",
    "spline_coupling",
    "spline_stack",
    "unplaced",
    "without_encoder",
]
