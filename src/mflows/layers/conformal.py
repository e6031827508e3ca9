r"""Conformal bijections of R^D: maps that keep angles (Ross & Cresswell 2021, arXiv 2106.05275).

Their Jacobian is a multiple of an orthogonal matrix, J^T J = lambda^2 I, and so

    log |det J| = D log lambda,    and behind a padding    1/2 log det(J_n^T J_n) = n log lambda.

By Liouville's theorem those of more than two dimensions are made of reflections, dilations,
translations and inversions in spheres.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import (
    AbstractBijection,
    Chain,
    Flip,
    Identity,
    Invert,
    Loc,
    Permute,
    Reshape,
    Sandwich,
    Scan,
)
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from mflows.nets import check_depth


class Reflection(AbstractBijection):
    """Reflection of R^dim in the plane with a learned normal v:  x - 2 v (v.x) / (v.v).

    FlowJAX's ``Householder`` cannot be scanned: it normalises the normals of all layers together.

    Args:
        normal: The normal v, of any length but 0.
    """

    normal: Float[Array, " dim"]
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, normal: Float[Array, " dim"]):
        self.normal = normal
        self.shape = normal.shape

    def transform_and_log_det(self, x, condition=None):
        along = jnp.sum(self.normal * x) / jnp.sum(self.normal**2)
        return x - 2 * along * self.normal, jnp.zeros((), self.normal.dtype)

    def inverse_and_log_det(self, y, condition=None):
        return self.transform_and_log_det(y)


class Dilation(AbstractBijection):
    """Dilation and translation,  e^s x + t.

    Args:
        log_scale: s, one number for all axes.
        shift: The translation t.
    """

    log_scale: Scalar
    shift: Float[Array, " dim"]
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, log_scale: Scalar, shift: Float[Array, " dim"]):
        self.log_scale = log_scale
        self.shift = shift
        self.shape = shift.shape

    def transform_and_log_det(self, x, condition=None):
        return jnp.exp(self.log_scale) * x + self.shift, self.shape[0] * self.log_scale

    def inverse_and_log_det(self, y, condition=None):
        return jnp.exp(-self.log_scale) * (y - self.shift), -self.shape[0] * self.log_scale


class Inversion(AbstractBijection):
    """Inversion in the unit sphere around c:  c + (x - c) / |x - c|^2.

    It is its own inverse, and sends c itself to infinity: data must stay away from it.

    Args:
        center: The centre c.
    """

    center: Float[Array, " dim"]
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, center: Float[Array, " dim"]):
        self.center = center
        self.shape = center.shape

    def transform_and_log_det(self, x, condition=None):
        offset, log_det = _inverted(x - self.center)
        return self.center + offset, log_det

    def inverse_and_log_det(self, y, condition=None):
        return self.transform_and_log_det(y)


class SpecialConformal(AbstractBijection):
    """Dilation and translation between two inversions in the unit sphere around c.

    With offsets from c throughout: added to c and taken off again, a small offset would lose as
    many digits as it is smaller than c.

    Args:
        center: The centre c.
        log_scale: Logarithm of the dilation around c, one number for all axes.
        shift: The translation.
    """

    center: Float[Array, " dim"]
    log_scale: Scalar
    shift: Float[Array, " dim"]
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(
        self, center: Float[Array, " dim"], log_scale: Scalar, shift: Float[Array, " dim"]
    ):
        self.center = center
        self.log_scale = log_scale
        self.shift = shift
        self.shape = center.shape

    def transform_and_log_det(self, x, condition=None):
        offset, first = _inverted(x - self.center)
        offset, last = _inverted(jnp.exp(self.log_scale) * offset + self.shift)
        return self.center + offset, self.shape[0] * self.log_scale + first + last

    def inverse_and_log_det(self, y, condition=None):
        offset, first = _inverted(y - self.center)
        offset, last = _inverted(jnp.exp(-self.log_scale) * (offset - self.shift))
        return self.center + offset, -self.shape[0] * self.log_scale + first + last


def _inverted(offset: Any) -> tuple[Float[Array, " dim"], Scalar]:
    """An offset from the centre after inversion, and the log-determinant of that."""
    square = jnp.sum(offset**2)
    return offset / square, -offset.size * jnp.log(square)


def conformal_stack(
    key: PRNGKeyArray, dim: int, *, layers: int = 5, reflections: int = 2, reach: float = 5.0
) -> AbstractBijection:
    """A conformal bijection of R^dim, the identity at first.

    Every layer is a rotation by pairs of reflections, then a dilation and translation between two
    inversions in the same sphere, a special conformal transformation.

    Args:
        key: Random key for normals and centres.
        dim: Dimension, at least 2.
        layers: Number of layers.
        reflections: Pairs of reflections per layer.
        reach: Distance of the centres of inversion from 0; keep it beyond the data.
    """
    check_depth("layers", layers)

    def layer(key: PRNGKeyArray) -> AbstractBijection:
        normals_key, center_key = jr.split(key)
        center = jr.normal(center_key, (dim,))
        center = reach * center / jnp.linalg.norm(center)
        turns = [
            Reflection(normal)
            for normal in jr.normal(normals_key, (reflections, dim))
            for _ in range(2)
        ]
        return Chain([*turns, SpecialConformal(center, jnp.zeros(()), jnp.zeros(dim))])

    return Scan(eqx.filter_vmap(layer)(jr.split(key, layers)))


def is_conformal(bijection) -> bool:
    """Whether a bijection is conformal by construction, whatever its parameters."""
    match bijection:
        case Reflection() | Dilation() | Inversion() | SpecialConformal() | Identity():
            return True
        case Loc() | Permute() | Flip():
            return True
        case Chain():
            return all(map(is_conformal, bijection.bijections))
        case Sandwich():
            return is_conformal(bijection.inner) and is_conformal(bijection.outer)
        case Scan() | Invert() | Reshape():
            return is_conformal(bijection.bijection)
    return False
