r"""Stacks of scanned layers, and the leading coordinates of their inverse.

With  g(u) = f(u, 0)  an encoder wants only the first n coordinates of f^-1(x). Where the first
layer of f leaves these where they are, f^-1 need not evaluate it.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Chain, Reshape, Scan
from jaxtyping import Array, Float

from mflows.tangents import condition_for, inverted, transformed


class Stack(Scan):
    """Layers one after the other, as FlowJAX's ``Scan``.

    Args:
        layers: The layers as one bijection, whose arrays have a leading axis for them.
        kept: So many coordinates, the first, are where they were after the first layer.
    """

    kept: int = eqx.field(static=True)

    def __init__(self, layers: AbstractBijection, *, kept: int = 0):
        super().__init__(layers)
        self.kept = kept

    def transform(self, x, condition=None):
        return _scanned(lambda layer, x: transformed(layer, x, condition), self.bijection, x)

    def inverse(self, y, condition=None):
        return _inverse(self.bijection, y, condition)

    # FlowJAX's start from the integer 0: JAX then traces every layer twice, to learn its type.

    def transform_and_log_det(self, x, condition=None):
        def further(layer, carry):
            y, log_det = layer.transform_and_log_det(carry[0], condition)
            return y, carry[1] + log_det

        return _scanned(further, self.bijection, (x, jnp.zeros((), x.dtype)))

    def inverse_and_log_det(self, y, condition=None):
        def further(layer, carry):
            x, log_det = layer.inverse_and_log_det(carry[0], condition)
            return x, carry[1] + log_det

        return _scanned(further, self.bijection, (y, jnp.zeros((), y.dtype)), reverse=True)


def shaped(bijection: AbstractBijection, shape: tuple[int, ...]) -> AbstractBijection:
    """A bijection of vectors as one of points of any shape."""
    return bijection if bijection.shape == shape else Reshape(bijection, shape)


def leading(
    bijection: AbstractBijection, y: Array, count: int, condition: Array | None
) -> Float[Array, " count"]:
    """The first ``count`` coordinates of the inverse at ``y``."""
    first, *later = bijection.bijections if isinstance(bijection, Chain) else (bijection,)
    for part in reversed(later):
        y = inverted(part, y, condition)
    stack = first.bijection if isinstance(first, Reshape) else first
    if not isinstance(stack, Stack) or count > stack.kept:
        return inverted(first, y, condition).ravel()[:count]
    arrays, static = eqx.partition(stack.bijection, eqx.is_array)
    rest = eqx.combine(jax.tree.map(lambda leaf: leaf[1:], arrays), static)
    return _inverse(rest, y.ravel(), condition_for(stack, condition))[:count]


def _inverse(layers, y: Array, condition: Array | None) -> Array:
    return _scanned(lambda layer, y: inverted(layer, y, condition), layers, y, reverse=True)


def _scanned(function, layers, x, *, reverse: bool = False) -> Any:
    arrays, static = eqx.partition(layers, eqx.is_array)

    def step(x, arrays):
        return function(eqx.combine(arrays, static), x), None

    return jax.lax.scan(step, x, arrays, reverse=reverse)[0]
