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
)
from mflows.charts.circular import circular_spline_stack
from mflows.charts.conformal import (
    Dilation,
    Inversion,
    Reflection,
    conformal_stack,
    is_conformal,
)
from mflows.charts.conormals import push_conormals
from mflows.charts.function_chart import FunctionChart
from mflows.charts.placement import Placement, place, placement_of
from mflows.charts.product import Product
from mflows.charts.pushforward import condition_for, pushforward
from mflows.charts.rational_quadratic import CircularSpline, RationalQuadraticSpline
from mflows.charts.sphere import Sphere
from mflows.charts.sphere_coupling import SphereCoupling, sphere_spline_stack
from mflows.charts.splines import spline_coupling, spline_stack
from mflows.charts.torus import Circle, Torus

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
    "place",
    "placement_of",
    "push_conormals",
    "pushforward",
    "sphere_spline_stack",
    "spline_coupling",
    "spline_stack",
    "without_encoder",
]
