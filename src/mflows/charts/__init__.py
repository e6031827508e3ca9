"""Charts: what a manifold is, how tangents are carried along it, and the layers of both."""

from mflows.charts.autoencoder import Encoded, Generator, Inverted, NoisyGenerator
from mflows.charts.chart import BijectionChart, Chart, Composed, Pad, Unavailable
from mflows.charts.conormals import push_conormals
from mflows.charts.placement import Placement, place, placement_of
from mflows.charts.pushforward import condition_for, pushforward
from mflows.charts.rational_quadratic import RationalQuadraticSpline
from mflows.charts.splines import spline_coupling, spline_stack

__all__ = [
    "BijectionChart",
    "Chart",
    "Composed",
    "Encoded",
    "Generator",
    "Inverted",
    "NoisyGenerator",
    "Pad",
    "Placement",
    "RationalQuadraticSpline",
    "Unavailable",
    "condition_for",
    "place",
    "placement_of",
    "push_conormals",
    "pushforward",
    "spline_coupling",
    "spline_stack",
]
