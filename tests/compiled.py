"""Each chart and layer is compiled once, and everything the invariants want is computed there."""

import math
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paramax import unwrap
from tests.registry import (
    CHARTS,
    FREE_CHARTS,
    LAYERS,
    VOLUMES,
    condition_of,
    coordinates,
    serves,
)

from mflows.charts import push_conormals, pushforward
from mflows.tangents import inverted, transformed
from mflows.volume import Auto

POINTS = 6


class ChartValues(NamedTuple):
    u: np.ndarray
    x: np.ndarray
    encoded: np.ndarray
    off: np.ndarray
    projected: np.ndarray
    projected_twice: np.ndarray
    jacobian: np.ndarray
    pushed_x: np.ndarray
    pushed: np.ndarray
    volumes: dict[str, np.ndarray]
    volume_x: dict[str, np.ndarray]


class LayerValues(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    log_det: np.ndarray
    inverse: np.ndarray
    inverse_log_det: np.ndarray
    transformed: np.ndarray
    inverted: np.ndarray
    frame: np.ndarray
    jacobian: np.ndarray
    pushed_y: np.ndarray
    pushed: np.ndarray
    fallback_y: np.ndarray
    fallback: np.ndarray
    conormal_y: np.ndarray
    conormal_log_det: np.ndarray
    conormals: np.ndarray


def quickly(function):
    """Compile a function of points and conditions for speed of compiling."""
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(jax.vmap(function), compiler_options=options)


def _chart_values(name: str) -> ChartValues:
    chart = unwrap((CHARTS | FREE_CHARTS)[name]())
    condition = condition_of(chart, POINTS)
    decode, encode = quickly(chart.decode), quickly(chart.encode)
    u, rng = coordinates(name, POINTS), np.random.default_rng(2)
    x, off = decode(u, condition), 2 * rng.normal(size=(POINTS, *chart.shape))
    projected = decode(encode(off, condition), condition)
    volumes = {
        name: volume
        for name, build in VOLUMES.items()
        if serves(volume := build(), chart) and not isinstance(volume, Auto)  # one of the others
    }

    @quickly
    def derivatives(u, condition):
        frame = jnp.eye(chart.latent_dim)
        found = {
            name: volume.decode_and_log_volume(chart, u, condition)
            for name, volume in volumes.items()
        }
        return (
            jax.jacfwd(lambda u: chart.decode(u, condition))(u),
            *chart.pushforward(u, frame, condition),
            {name: log_volume for name, (_, log_volume) in found.items()},
            {name: x for name, (x, _) in found.items()},
        )

    jacobian, pushed_x, pushed, log_volumes, volume_x = derivatives(u, condition)
    values = ChartValues(
        u,
        x,
        encode(x, condition),
        off,
        projected,
        decode(encode(projected, condition), condition),
        jacobian.reshape(POINTS, chart.dim, chart.latent_dim),
        pushed_x,
        pushed.reshape(POINTS, chart.latent_dim, chart.dim),
        log_volumes,
        volume_x,
    )
    return jax.tree.map(np.asarray, values)


def _layer_values(name: str) -> LayerValues:
    layer = LAYERS[name]()
    dim, rng = math.prod(layer.shape), np.random.default_rng(2)
    points = rng.normal(size=(POINTS, *layer.shape))
    frames = rng.normal(size=(POINTS, dim - 1, *layer.shape))
    without_rules = pushforward.dispatch(object)

    @quickly
    def evaluate(x, frame, condition):
        y, log_det = layer.transform_and_log_det(x, condition)
        return LayerValues(
            x,
            y,
            log_det,
            *layer.inverse_and_log_det(y, condition),
            transformed(layer, x, condition),
            inverted(layer, y, condition),
            frame,
            jax.jacfwd(lambda x: transformed(layer, x, condition))(x),
            *pushforward(layer, x, frame, condition),
            *without_rules(layer, x, frame, condition),
            *push_conormals(layer, x, frame, condition),
        )

    values = jax.tree.map(np.asarray, evaluate(points, frames, condition_of(layer, POINTS)))
    rows = {  # vectors as rows of numbers, whatever the shape of a point
        name: getattr(values, name).reshape(POINTS, -1, dim)
        for name in ("frame", "jacobian", "pushed", "fallback", "conormals")
    }
    return values._replace(**rows)


chart_values, layer_values = cache(_chart_values), cache(_layer_values)


@pytest.fixture(params=CHARTS | FREE_CHARTS)
def chart(request) -> ChartValues:
    """What one chart of the registry does to a few points."""
    return chart_values(request.param)


@pytest.fixture(params=CHARTS)
def invertible(request) -> ChartValues:
    """The same for a chart whose encoder inverts its decoder."""
    return chart_values(request.param)


@pytest.fixture(params=LAYERS)
def layer(request) -> LayerValues:
    """What one layer of the registry does to a few points."""
    return layer_values(request.param)


@pytest.fixture
def values_of():
    """The same for a chart of one's choice, by name."""
    return chart_values
