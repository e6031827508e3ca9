r"""Rational-quadratic splines (Durkan et al. 2019, arXiv 1906.04032), with cheap derivatives.

In a bin with lower left corner (x_k, y_k), width w, height h, secant s = h / w and slopes d_0 and
d_1 at its ends, with t = (x - x_k) / w,

    y = y_k + h (s t^2 + d_0 t (1 - t)) / (s + (d_0 + d_1 - 2 s) t (1 - t)).

It is FlowJAX's function, but with slope 1 at the ends of the interval, and derivatives of its own:

* y and the slope depend on six numbers of one bin. Their gradients in these are computed with the
  values, and how the bin moves with the parameters is a sum under a mask, whose transpose needs no
  scatter.
* The inverse is differentiated as the implicit function that it is, dx = (dy - df/dtheta dtheta) /
  f'(x), which never differentiates a square root. It is finite in float32 too: FlowJAX's takes
  the root of a discriminant that rounding turns negative near the upper edge of flat bins.

On a circle (Rezende et al. 2020, arXiv 2002.02428) the ends of the interval are one point, with one
slope, which is learned like the others.
"""

import math
from functools import partial, reduce
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection
from jaxtyping import Array, Float, Scalar

from mflows.charts.torus import wrapped

MIN_SIZE, MIN_SLOPE = 1e-3, 1e-3
"""Least width and height of a bin, as fractions of the interval, and least slope at a knot."""

_SLOPE_ONE = math.log(math.expm1(1 - MIN_SLOPE))


class RationalQuadraticSpline(AbstractBijection):
    """A monotone spline on ``[-interval, interval]`` that goes on as the identity outside.

    It starts as the identity. Its ``parameters`` are the logarithms of the widths and of the
    heights of the bins, up to constants, and what softplus maps to the slopes at the inner knots.

    Args:
        bins: Number of bins, at least 1 and below 1,000.
        interval: Half width of the interval, above 0.

    Raises:
        ValueError: If one of them is out of its range.
    """

    parameters: Float[Array, " 3*bins-1"]
    interval: float = eqx.field(static=True)
    shape: tuple[int, ...] = ()
    cond_shape: None = None

    def __init__(self, bins: int, interval: float):
        if not 1 <= bins < 1 / MIN_SIZE:
            raise ValueError(f"Expected bins from 1 to {1 / MIN_SIZE - 1:.0f}; got {bins}.")
        if not 0 < interval < math.inf:
            raise ValueError(f"Expected an interval with a half width > 0; got {interval}.")
        self.parameters = jnp.zeros(3 * bins - 1)
        self.interval = float(interval)

    def transform_and_log_det(self, x, condition=None):
        return _transform_and_log_slope(self.interval, self.parameters, x)

    def inverse_and_log_det(self, y, condition=None):
        x, log_slope = _inverse_and_log_slope(self.interval, self.parameters, y)
        return x, -log_slope


class CircularSpline(AbstractBijection):
    """A monotone spline of angles on [-pi, pi], smooth across the seam, followed by a rotation.

    It starts as the identity. Its ``parameters`` are those of `RationalQuadraticSpline`, with one
    more slope, which is that at both ends.

    Args:
        bins: Number of bins, at least 1 and below 1,000.
    """

    parameters: Float[Array, " 3*bins"]
    turn: Scalar
    shape: tuple[int, ...] = ()
    cond_shape: None = None

    def __init__(self, bins: int):
        self.parameters = jnp.append(RationalQuadraticSpline(bins, math.pi).parameters, 0.0)
        self.turn = jnp.zeros(())

    def transform_and_log_det(self, x, condition=None):
        y, log_slope = _transform_and_log_slope(math.pi, self.parameters, wrapped(x))
        return wrapped(y + self.turn), log_slope

    def inverse_and_log_det(self, y, condition=None):
        x, log_slope = _inverse_and_log_slope(math.pi, self.parameters, wrapped(y - self.turn))
        return x, -log_slope


class _Bin(NamedTuple):
    """Lower left corner and size of a bin, and the slopes at its ends."""

    x: Scalar
    y: Scalar
    width: Scalar
    height: Scalar
    left: Scalar
    right: Scalar


def _curve(bin: _Bin, x: Scalar) -> tuple[Scalar, Scalar]:
    """Y and the logarithm of the slope."""
    secant, t = bin.height / bin.width, (x - bin.x) / bin.width
    below = secant + (bin.left + bin.right - 2 * secant) * t * (1 - t)
    y = bin.y + bin.height * (secant * t**2 + bin.left * t * (1 - t)) / below
    steep = bin.right * t**2 + 2 * secant * t * (1 - t) + bin.left * (1 - t) ** 2
    return y, 2 * jnp.log(secant / below) + jnp.log(steep)


def _root(bin: _Bin, y: Scalar) -> Scalar:
    """The x at which the curve reaches y."""
    secant, above = bin.height / bin.width, (y - bin.y) / bin.height
    bend = above * (bin.left + bin.right - 2 * secant)
    a, b, c = secant - bin.left + bend, bin.left - bend, -secant * above
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0))
    # Of the two forms of the same root, the one that adds numbers of one sign.
    t = jnp.where(b >= 0, -2 * c / (b + root), (root - b) / (2 * a))
    return bin.x + bin.width * jnp.clip(t, 0.0, 1.0)


def _parts(parameters: Array) -> list[Array]:
    """What gives the widths, the heights and the slopes: at inner knots, or at all on a circle."""
    bins = (parameters.size + 1) // 3
    return jnp.split(parameters, (bins, 2 * bins))


def _is_circular(parameters: Array) -> bool:
    return parameters.size % 3 == 0


def _at_knots(slopes: Array, bins: int) -> Array:
    """Slopes at all knots: at the ends 1, which is the softplus of 0, or on a circle the same."""
    return jnp.append(slopes, slopes[:1]) if slopes.size == bins else jnp.pad(slopes, 1)


def _scale(interval: float, bins: int) -> float:
    """What the shares of a softmax distribute among the bins."""
    return 2 * interval * (1 - MIN_SIZE * bins)


def _bin_of(
    interval: float, parameters: Array, value: Scalar, *, inverse: bool = False
) -> tuple[_Bin, Scalar]:
    """The bin in which an x lies, or a y if ``inverse``, and its number k."""
    *logits, slopes = _parts(parameters)
    x, y = (_edges(interval, each) for each in logits)
    k = jnp.sum(value >= (y if inverse else x)[1:-1])
    slopes = _at_knots(slopes, x.size - 1)
    left, right = (MIN_SLOPE + jax.nn.softplus(slopes[at] + _SLOPE_ONE) for at in (k, k + 1))
    # Sizes are differences of the very edges that were compared, so that 0 <= t <= 1.
    return _Bin(x[k], y[k], x[k + 1] - x[k], y[k + 1] - y[k], left, right), k


def _edges(interval: float, logits: Array) -> Array:
    """The edges of the bins, shape (bins + 1,)."""
    bins = logits.size
    # Sums first, then one division: a softmax and its sums, but for one pass less over the bins.
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max()))
    up_to = np.tril(np.ones((bins, bins), logits.dtype))
    sums = jnp.matmul(up_to, weights, precision="highest")
    least = 2 * interval * MIN_SIZE * np.arange(1, bins, dtype=logits.dtype) - interval
    inner = least + sums[:-1] * (_scale(interval, bins) / sums[-1])
    return jnp.pad(inner, 1, constant_values=(-interval, interval))


def _bin_tangent(interval: float, parameters: Array, k: Scalar, tangent: Array) -> _Bin:
    """How bin k moves when the parameters do."""
    widths, heights, (slopes, dslopes) = zip(_parts(parameters), _parts(tangent), strict=True)
    bins = jnp.arange(widths[0].size)
    knots = jnp.arange(0 if _is_circular(parameters) else 1, bins.size)

    def total(mask, values):
        return jnp.sum(jnp.where(mask, values, 0.0))

    def edge_and_size(logits, dlogits):
        shares = jax.nn.softmax(logits)
        moved = shares * (dlogits - jnp.sum(shares * dlogits))
        return (_scale(interval, bins.size) * total(mask, moved) for mask in (bins < k, bins == k))

    (x, width), (y, height) = edge_and_size(*widths), edge_and_size(*heights)
    slopes = _at_knots(slopes, bins.size)
    left, right = (
        jax.nn.sigmoid(slopes[at] + _SLOPE_ONE) * total(knots == at % bins.size, dslopes)
        for at in (k, k + 1)
    )
    return _Bin(x, y, width, height, left, right)


def _within(interval: float, parameters: Array, value: Scalar) -> tuple[Scalar, Scalar]:
    """Whether a value lies in the interval, as all do on a circle, and one that does."""
    if _is_circular(parameters):
        return jnp.full((), True), jnp.clip(value, -interval, interval)
    inside = (value > -interval) & (value < interval)
    return inside, jnp.where(inside, value, 0.0)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _transform_and_log_slope(interval: float, parameters: Array, x: Scalar):
    inside, safe = _within(interval, parameters, x)
    bin, _ = _bin_of(interval, parameters, safe)
    y, log_slope = _curve(bin, safe)
    return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0.0)


@_transform_and_log_slope.defjvp
def _(interval, primals, tangents):
    (parameters, x), (dparameters, dx) = primals, tangents
    inside, safe = _within(interval, parameters, x)
    bin, k = _bin_of(interval, parameters, safe)
    (y, log_slope), pull = jax.vjp(_curve, bin, safe)
    dbin = _bin_tangent(interval, parameters, k, dparameters)
    dy, dlog_slope = (_dot(pull(weights), (dbin, dx)) for weights in ((1.0, 0.0), (0.0, 1.0)))
    return (
        (jnp.where(inside, y, x), jnp.where(inside, log_slope, 0.0)),
        (jnp.where(inside, dy, dx), jnp.where(inside, dlog_slope, 0.0)),
    )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _inverse_and_log_slope(interval: float, parameters: Array, y: Scalar):
    """X, and the logarithm of the slope dy/dx there."""
    inside, safe = _within(interval, parameters, y)
    bin, _ = _bin_of(interval, parameters, safe, inverse=True)
    x = _root(bin, safe)
    return jnp.where(inside, x, y), jnp.where(inside, _curve(bin, x)[1], 0.0)


@_inverse_and_log_slope.defjvp
def _(interval, primals, tangents):
    (parameters, y), (dparameters, dy) = primals, tangents
    x, log_slope = _inverse_and_log_slope(interval, parameters, y)
    inside, safe = _within(interval, parameters, y)
    bin, k = _bin_of(interval, parameters, safe, inverse=True)
    _, pull = jax.vjp(_curve, bin, jnp.where(inside, x, 0.0))
    (gradient, slope), (gradient_of_log, bend) = pull((1.0, 0.0)), pull((0.0, 1.0))
    dbin = _bin_tangent(interval, parameters, k, dparameters)
    dx = jnp.where(inside, (dy - _dot(gradient, dbin)) / slope, dy)
    dlog_slope = _dot(gradient_of_log, dbin) + bend * dx
    return (x, log_slope), (dx, jnp.where(inside, dlog_slope, 0.0))


def _dot(gradient, tangent) -> Scalar:
    return reduce(jnp.add, jax.tree.leaves(jax.tree.map(jnp.multiply, gradient, tangent)))
