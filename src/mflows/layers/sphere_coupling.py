r"""Spline coupling layers of the sphere S^n, without seam or pole.

In cylindrical coordinates  x = (sqrt(1 - z^2) w, z),  w in S^(n-1),  a layer moves the height z,

    z -> s(z | w),    intrinsic log-det  = log s'(z) + (n - 2)/2 log R,    R = (1 - s^2) / (1 - z^2)

by a rational-quadratic spline of [-1, 1] whose parameters are a network of w, a unit vector. The
poles z = +-1, where w is not defined, stay where they are, and as s' is 1 there, so is R: layer and
densities are continuously differentiable across the poles, whatever the network does. Before and
after a layer a reflection, which is learned, takes the last axis to the layer's own. (Rezende et
al. 2020, arXiv 2002.02428, also move w given z, which is smooth at a pole only if it becomes a
rotation there.)

Everything is extended to R^(n+1) by leaving lengths alone; the log-determinant of that is the
intrinsic one.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import AbstractBijection, Sandwich
from jaxtyping import Array, PRNGKeyArray, Scalar

from mflows.layers.conformal import Reflection
from mflows.layers.rational_quadratic import RationalQuadraticSpline
from mflows.layers.splines import IDENTITY_SCALE
from mflows.layers.stack import Stack
from mflows.nets import ResidualMLP, check_depth


class SphereCoupling(AbstractBijection):
    """One layer: moves heights along the last axis, given the direction of the other coordinates.

    A point off the sphere keeps its distance from 0, so that the layer is a bijection of all space
    but 0, and its log-determinant is that of space too.

    Args:
        key: Random key for the initial weights.
        dim: Number of coordinates n + 1, at least 3.
        cond_dim: Dimension of the condition, ``None`` for an unconditional layer.
        bins: Number of bins of the spline.
        width: Width of the conditioner network.
        blocks: Number of residual blocks in the conditioner network.
    """

    conditioner: ResidualMLP
    bins: int = eqx.field(static=True)
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        *,
        cond_dim: int | None = None,
        bins: int = 10,
        width: int = 64,
        blocks: int = 1,
    ):
        if dim < 3:
            raise ValueError(f"Expected dim >= 3, a sphere and not a circle; got {dim}.")
        self.conditioner = ResidualMLP(
            key,
            dim - 1 + (cond_dim or 0),
            RationalQuadraticSpline(bins, 1.0).parameters.size,
            width=width,
            blocks=blocks,
            scale=IDENTITY_SCALE,
        )
        self.bins = bins
        self.shape = (dim,)
        self.cond_shape = None if cond_dim is None else (cond_dim,)

    def transform_and_log_det(self, x, condition=None):
        return self._moved(RationalQuadraticSpline.transform_and_log_det, x, condition)

    def inverse_and_log_det(self, y, condition=None):
        return self._moved(RationalQuadraticSpline.inverse_and_log_det, y, condition)

    def _moved(self, direction: Callable, x, condition):
        """Both directions: they keep w and move z, by the spline or by its inverse."""
        radius = length(x)
        unit = x / jnp.where(radius == 0, 1.0, radius)
        across, z = unit[:-1], jnp.clip(unit[-1], -1.0, 1.0)
        rho = length(across)
        w = across / jnp.where(rho == 0, 1.0, rho)
        parameters = self.conditioner(w if condition is None else jnp.hstack((w, condition)))
        spline = RationalQuadraticSpline(self.bins, 1.0)
        spline = eqx.tree_at(lambda spline: spline.parameters, spline, parameters)
        s, log_slope = direction(spline, z)
        ratio = _ratio(rho, z, s, jnp.exp(log_slope))
        moved = jnp.append(across * jnp.sqrt(ratio), s)
        return radius * moved, log_slope + (len(x) - 3) / 2 * jnp.log(ratio)


def _ratio(rho, z, s, slope):
    """R = (1 - s^2) / (1 - z^2), without cancellation at the poles.

    (1 - s) / (1 - z) is the mean of s' from z to 1. Close to the pole the trapezoidal rule gives it
    to more digits than the differences, and s'(1) = 1.
    """
    side = jnp.where(z < 0, -1.0, 1.0)
    gap = rho**2 / (1 + side * z)
    near = gap < jnp.sqrt(jnp.finfo(z.dtype).eps)
    mean_slope = jnp.where(near, (1 + slope) / 2, (1 - side * s) / jnp.where(near, 1.0, gap))
    tiny = jnp.finfo(z.dtype).eps  # of what rounding may turn to 0: s on a pole, z beside it
    return jnp.maximum(mean_slope * (1 + side * s) / (1 + side * z), tiny)


def sphere_spline_stack(
    key: PRNGKeyArray, dim: int, *, layers: int = 6, **settings
) -> AbstractBijection:
    """A bijection of the sphere in R^dim, close to the identity.

    Args:
        key: Random key for weights and reflections.
        dim: Number of coordinates n + 1, at least 3.
        layers: Number of coupling layers.
        settings: ``cond_dim``, ``bins``, ``width`` and ``blocks``, as for `SphereCoupling`.
    """
    check_depth("layers", layers)

    def layer(key: PRNGKeyArray) -> AbstractBijection:
        axis_key, coupling_key = jr.split(key)
        moved = SphereCoupling(coupling_key, dim, **settings)
        return Sandwich(moved, Reflection(jr.normal(axis_key, (dim,))))

    return Stack(eqx.filter_vmap(layer)(jr.split(key, layers)))


def length(x: Array) -> Scalar:
    """Euclidean norm with derivative 0 at 0, and where squares vanish in the precision at hand."""
    squares = jnp.sum(x**2)
    zero = squares == 0  # not `> 0`, which would take NaN for 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squares)))
