r"""A spline whose inverse is finite and differentiable everywhere, in float32 too.

FlowJAX inverts a rational-quadratic spline f (Durkan et al. 2019, arXiv 1906.04032) by the root
of a quadratic. Towards the right edge of a bin its discriminant is proportional to the square of
the slope there, yet computed as a difference of far larger numbers. Where the slope is small it
comes out negative in float32, and the inverse is NaN; beyond the interval its gradient is. Here
the discriminant is kept at 0 or above, the root is taken without cancellation, and
x = f^-1(y; theta) is differentiated as the implicit function that it is,

    dx = (dy - df/dtheta dtheta) / f'(x),

which never differentiates the square root and holds for derivatives of any order.
"""

import equinox as eqx
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, RationalQuadraticSpline


class ImplicitSpline(AbstractBijection):
    """A rational-quadratic spline with a stable inverse; the same function of its parameters.

    Args:
        spline: The spline to invert.
    """

    spline: RationalQuadraticSpline
    shape: tuple[int, ...] = ()
    cond_shape: None = None

    def transform_and_log_det(self, x, condition=None):
        return self.spline.transform_and_log_det(x)

    def inverse_and_log_det(self, y, condition=None):
        x = _inverse(y, self.spline)
        return x, -self.spline.transform_and_log_det(x)[1]


@eqx.filter_custom_jvp
def _inverse(y, spline):
    low, high = spline.interval
    inside = (y > low) & (y < high)
    safe = jnp.where(inside, y, low)
    k = jnp.clip(jnp.searchsorted(spline.y_pos, safe) - 1, 0, spline.knots)
    width = spline.x_pos[k + 1] - spline.x_pos[k]
    height = spline.y_pos[k + 1] - spline.y_pos[k]
    slope, left, right = height / width, spline.derivatives[k], spline.derivatives[k + 1]
    above = (safe - spline.y_pos[k]) / height
    bend = above * (left + right - 2 * slope)
    a, b, c = slope - left + bend, left - bend, -slope * above
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0))
    # Of the two forms of the same root, the one that adds numbers of one sign.
    fraction = jnp.where(b >= 0, -2 * c / (b + root), (root - b) / (2 * a))
    x = spline.x_pos[k] + width * jnp.clip(fraction, 0.0, 1.0)
    return jnp.where(inside, x, y)


@_inverse.def_jvp
def _(primals, tangents):
    (y, spline), (dy, dspline) = primals, tangents
    x = _inverse(y, spline)
    slope = jnp.exp(spline.transform_and_log_det(x)[1])
    _, moved = eqx.filter_jvp(lambda s: s.transform_and_log_det(x)[0], (spline,), (dspline,))
    dy, moved = (0.0 if move is None else move for move in (dy, moved))  # None: it stands still
    return x, (dy - moved) / slope
