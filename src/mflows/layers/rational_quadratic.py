r"""Rational-quadratic splines (Durkan et al. 2019, arXiv 1906.04032), with cheap derivatives.

In a bin with lower left corner (x_k, y_k), width w, height h, secant s = h / w and slopes d_0 and
d_1 at its ends, with t = (x - x_k) / w,

    y = y_k + h (s t^2 + d_0 t (1 - t)) / (s + (d_0 + d_1 - 2 s) t (1 - t)).

It is FlowJAX's function, but with slope 1 at the ends of the interval, and derivatives of its own:

* y and the slope depend on six numbers of one bin. Their gradients in these are computed with the
  values, and how the bin moves with the parameters is a sum under a mask, whose transpose needs no
  scatter.
* Values alone (``transform``, ``inverse``) take nothing of the slope, not even until it is dropped.
* The inverse is differentiated as the implicit function that it is, dx = (dy - df/dtheta dtheta) /
  f'(x), which never differentiates a square root. It is finite in float32 too: FlowJAX's takes
  the root of a discriminant that rounding turns negative near the upper edge of flat bins.

On a circle (Rezende et al. 2020, arXiv 2002.02428) the ends of the interval are one point, with one
slope, which is learned like the others.
"""

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection
from jaxtyping import Array, ArrayLike, Float, Scalar

MIN_SIZE, MIN_SLOPE = 1e-3, 1e-3
"""Least width and height of a bin, as fractions of the interval, and least slope at a knot."""

_X, _Y = 0, 1  # what a bin is found by
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

    def transform(self, x, condition=None):
        inside, safe = self._within(x)
        bin = _bin_of(self.interval, _X, self.parameters, safe)
        return jnp.where(inside, _curve(bin, safe), x)

    def inverse(self, y, condition=None):
        inside, safe = self._within(y)
        bin = _bin_of(self.interval, _Y, self.parameters, safe)
        return jnp.where(inside, _root(bin, safe), y)

    def transform_and_log_det(self, x, condition=None):
        inside, safe = self._within(x)
        bin = _bin_of(self.interval, _X, self.parameters, safe)
        y, log_slope = _curve(bin, safe), _log_slope(bin, safe)
        return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0.0)

    def inverse_and_log_det(self, y, condition=None):
        inside, safe = self._within(y)
        bin = _bin_of(self.interval, _Y, self.parameters, safe)
        x = _root(bin, safe)
        return jnp.where(inside, x, y), jnp.where(inside, -_log_slope(bin, x), 0.0)

    def _within(self, value: ArrayLike) -> tuple[Scalar, Scalar]:
        """Whether a value lies in the interval, and one that does."""
        value = jnp.asarray(value)
        inside = (value > -self.interval) & (value < self.interval)
        return inside, jnp.where(inside, value, 0.0)


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
        x = _on_circle(x)
        bin = _bin_of(math.pi, _X, self.parameters, x)
        return wrapped(_curve(bin, x) + self.turn), _log_slope(bin, x)

    def inverse_and_log_det(self, y, condition=None):
        y = _on_circle(y - self.turn)
        bin = _bin_of(math.pi, _Y, self.parameters, y)
        x = _root(bin, y)
        return x, -_log_slope(bin, x)


def _on_circle(angle: ArrayLike) -> Scalar:
    """The angle in [-pi, pi], also after rounding."""
    angle = wrapped(angle)
    return angle + jax.lax.stop_gradient(jnp.clip(angle, -math.pi, math.pi) - angle)


class _Bin(NamedTuple):
    """Lower left corner and size of a bin, and the slopes at its ends."""

    x: Scalar
    y: Scalar
    width: Scalar
    height: Scalar
    left: Scalar
    right: Scalar


def _with_gradient(function: Callable[[_Bin, Scalar], Scalar]) -> Callable[[_Bin, Scalar], Scalar]:
    """The function; its gradient is computed with its value."""
    differentiable = jax.custom_jvp(function)

    @differentiable.defjvp
    def _(at, tangents):
        value, gradient = jax.value_and_grad(function, (0, 1))(*at)
        return value, _dot(gradient, tangents)

    return differentiable


def _shape(bin: _Bin, x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """The secant, t and the denominator."""
    secant, t = bin.height / bin.width, (x - bin.x) / bin.width
    return secant, t, secant + (bin.left + bin.right - 2 * secant) * t * (1 - t)


@_with_gradient
def _curve(bin: _Bin, x: Scalar) -> Scalar:
    secant, t, below = _shape(bin, x)
    return bin.y + bin.height * (secant * t**2 + bin.left * t * (1 - t)) / below


@_with_gradient
def _log_slope(bin: _Bin, x: Scalar) -> Scalar:
    secant, t, below = _shape(bin, x)
    steep = bin.right * t**2 + 2 * secant * t * (1 - t) + bin.left * (1 - t) ** 2
    return 2 * jnp.log(secant / below) + jnp.log(steep)


@jax.custom_jvp
def _root(bin: _Bin, y: Scalar) -> Scalar:
    """The x at which the curve reaches y."""
    secant, above = bin.height / bin.width, (y - bin.y) / bin.height
    bend = above * (bin.left + bin.right - 2 * secant)
    a, b, c = secant - bin.left + bend, bin.left - bend, -secant * above
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0))
    # Of the two forms of the same root, the one that adds numbers of one sign.
    t = jnp.where(b >= 0, -2 * c / (b + root), (root - b) / (2 * a))
    return bin.x + bin.width * jnp.clip(t, 0.0, 1.0)


@_root.defjvp
def _(primals, tangents):
    (bin, _), (dbin, dy) = primals, tangents
    x = _root(*primals)
    gradient, slope = jax.grad(_curve, (0, 1))(bin, x)
    return x, (dy - _dot(gradient, dbin)) / slope


def _dot(gradient, tangent) -> Scalar:
    return reduce(jnp.add, jax.tree.leaves(jax.tree.map(jnp.multiply, gradient, tangent)))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _bin_of(interval: float, axis: int, parameters: Array, value: Scalar) -> _Bin:
    """The bin in which an x or a y lies."""
    return _found(interval, axis, parameters, value)[0]


@_bin_of.defjvp
def _(interval, axis, primals, tangents):
    bin, k = _found(interval, axis, *primals)
    return bin, _bin_tangent(interval, primals[0], k, tangents[0])


def _found(interval: float, axis: int, parameters: Array, value: Scalar) -> tuple[_Bin, Scalar]:
    """The bin in which an x or a y lies, and its number k."""
    *logits, slopes = _parts(parameters)
    x, y = (_edges(interval, each) for each in logits)
    k = jnp.sum(value >= (x, y)[axis][1:-1])
    (x_0, x_1), (y_0, y_1) = _ends(x, k), _ends(y, k)
    left, right = (
        MIN_SLOPE + _softplus(end + _SLOPE_ONE) for end in _ends(_at_knots(slopes, x.size - 1), k)
    )
    # Sizes are differences of the very edges that were compared, so that 0 <= t <= 1.
    return _Bin(x_0, y_0, x_1 - x_0, y_1 - y_0, left, right), k


def _bin_tangent(interval: float, parameters: Array, k: Scalar, tangent: Array) -> _Bin:
    """How bin k moves when the parameters do."""
    widths, heights, (slopes, dslopes) = zip(_parts(parameters), _parts(tangent), strict=True)
    bins = np.arange(widths[0].size, dtype=np.int32)
    knots = np.arange(bins.size + 1, dtype=np.int32)

    def total(mask, values):
        return jnp.sum(jax.lax.select(mask, values, jnp.zeros_like(values)))

    def edge_and_size(logits, dlogits):
        weights = _weights(logits)
        shares = weights / jnp.sum(weights)
        moved = shares * (dlogits - jnp.sum(shares * dlogits))
        return (_scale(interval, bins.size) * total(mask, moved) for mask in (bins < k, bins == k))

    (x, width), (y, height) = edge_and_size(*widths), edge_and_size(*heights)
    slopes, dslopes = (_at_knots(each, bins.size) for each in (slopes, dslopes))
    left, right = (
        jax.lax.logistic(end + _SLOPE_ONE) * total(knots == k + at, dslopes)
        for at, end in enumerate(_ends(slopes, k))
    )
    return _Bin(x, y, width, height, left, right)


def _ends(at_knots: Array, k: Scalar) -> tuple[Scalar, Scalar]:
    """What belongs to the lower and to the upper end of bin k."""
    lower, upper = (
        at_knots.at[at].get(mode="promise_in_bounds", wrap_negative_indices=False)
        for at in (k, k + 1)
    )
    return lower, upper


def _parts(parameters: Array) -> list[Array]:
    """What gives the widths, the heights and the slopes: at inner knots, or at all on a circle."""
    bins = (parameters.size + 1) // 3
    return jnp.split(parameters, (bins, 2 * bins))


def _at_knots(slopes: Array, bins: int) -> Array:
    """Slopes at all knots: at the ends 1, which is the softplus of 0, or on a circle the same."""
    if slopes.size == bins:
        return jnp.concatenate([slopes, slopes[:1]])
    return _padded(slopes, 0.0, (1, 1))


def _edges(interval: float, logits: Array) -> Array:
    """The edges of the bins, shape (bins + 1,)."""
    bins = logits.size
    # Sums first, then one division: a softmax and its sums, but for one pass less over the bins.
    weights = _weights(logits)
    up_to = np.tril(np.ones((bins, bins), logits.dtype))
    sums = jnp.matmul(up_to, weights, precision="highest")
    least = 2 * interval * MIN_SIZE * np.arange(1, bins, dtype=logits.dtype) - interval
    inner = sums[:-1] * (_scale(interval, bins) / sums[-1]) + least
    return _padded(_padded(inner, -interval, (1, 0)), interval, (0, 1))


def _weights(logits: Array) -> Array:
    """What is in proportion to the sizes of the bins, less the least size; 1 at most."""
    return jnp.exp(logits - jax.lax.stop_gradient(logits.max()))


def _scale(interval: float, bins: int) -> float:
    """What the shares of a softmax distribute among the bins."""
    return 2 * interval * (1 - MIN_SIZE * bins)


def _softplus(x: Array) -> Array:
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _padded(values: Array, value: float, before_and_after: tuple[int, int]) -> Array:
    return jax.lax.pad(values, values.dtype.type(value), [(*before_and_after, 0)])


def wrapped(angles: ArrayLike) -> Array:
    """The same angles within [-pi, pi]; those that are there already stay as they are."""
    angles = jnp.asarray(angles)
    return angles - 2 * jnp.pi * jnp.round(angles / (2 * jnp.pi))
