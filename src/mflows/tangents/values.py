r"""Values of a bijection and of its inverse, without log-determinants.

FlowJAX computes both and leaves it to the compiler to drop what is not used; by then JAX has
traced, batched and differentiated it (docs/performance.md, first steps).
"""

from collections.abc import Callable
from functools import singledispatch

import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Chain, Coupling, Invert, Sandwich
from jaxtyping import Array
from paramax import unwrap

from mflows.tangents.pushforward import condition_for


@singledispatch
def transformed(bijection: AbstractBijection, x: Array, condition: Array | None) -> Array:
    """The value of a bijection at ``x``, by its own ``transform`` if no rule is registered."""
    return bijection.transform(x, condition_for(bijection, condition))


@singledispatch
def inverted(bijection: AbstractBijection, y: Array, condition: Array | None) -> Array:
    """The value of its inverse at ``y``, by its own ``inverse`` if no rule is registered."""
    return bijection.inverse(y, condition_for(bijection, condition))


@transformed.register
def _(bijection: Coupling, x, condition):
    return _coupled(bijection, x, condition, lambda transformer, x: transformer.transform(x))


@inverted.register
def _(bijection: Coupling, y, condition):
    return _coupled(bijection, y, condition, lambda transformer, y: transformer.inverse(y))


def _coupled(
    layer: Coupling,
    x: Array,
    condition: Array | None,
    apply: Callable[[AbstractBijection, Array], Array],
) -> Array:
    layer, condition = unwrap(layer), condition_for(layer, condition)
    if jnp.shape(x) != layer.shape:
        raise ValueError(f"Expected a point of shape {layer.shape}; got {jnp.shape(x)}.")
    given = None if condition is None else jnp.shape(condition)
    if given != layer.cond_shape:
        raise ValueError(f"Expected a condition of shape {layer.cond_shape}; got {given}.")
    kept, moved = x[: layer.untransformed_dim], x[layer.untransformed_dim :]
    theta = layer.conditioner(kept if condition is None else jnp.concatenate((kept, condition)))
    moved = jax.vmap(lambda theta, x: apply(layer.transformer_constructor(theta), x))(
        theta.reshape(moved.size, -1), moved
    )
    return jnp.concatenate((kept, moved))


@transformed.register
def _(bijection: Chain, x, condition):
    for part in bijection.bijections:
        x = transformed(part, x, condition)
    return x


@inverted.register
def _(bijection: Chain, y, condition):
    for part in reversed(bijection.bijections):
        y = inverted(part, y, condition)
    return y


@transformed.register
def _(bijection: Sandwich, x, condition):
    inner = transformed(bijection.inner, transformed(bijection.outer, x, condition), condition)
    return inverted(bijection.outer, inner, condition)


@inverted.register
def _(bijection: Sandwich, y, condition):
    inner = inverted(bijection.inner, transformed(bijection.outer, y, condition), condition)
    return inverted(bijection.outer, inner, condition)


@transformed.register
def _(bijection: Invert, x, condition):
    return inverted(bijection.bijection, x, condition)


@inverted.register
def _(bijection: Invert, y, condition):
    return transformed(bijection.bijection, y, condition)
