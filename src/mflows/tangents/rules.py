r"""What may be asked of a layer, with the answer for those that register no rule of their own.

    transformed, inverted   values alone, without log-determinants
    pushforward             tangents v at x become A v at f(x), A = df/dx
    push_columns            the same with tangents as columns, between layers
    push_conormals          covectors w at x become w A^-1

FlowJAX computes a value with its log-determinant and leaves it to the compiler to drop what is not
used; by then JAX has traced, batched and differentiated it (docs/performance.md, first steps).
A decoder's Jacobian is wanted along n tangents: in general ``jax.linearize`` once and a ``vmap`` of
the linear map is the cheapest. Covectors keep their products with tangents, so that those that
vanish on a manifold, its conormals, remain conormals.
"""

from functools import singledispatch
from typing import Any

import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection
from jaxtyping import Array, Float, Scalar


def condition_for(part, condition: Any) -> Any:
    """The condition, if ``part`` depends on one. FlowJAX couplings must not be given another."""
    return None if part.cond_shape is None else condition


@singledispatch
def transformed(bijection: AbstractBijection, x: Array, condition: Array | None) -> Array:
    """The value of a bijection at ``x``, by its own ``transform`` if no rule is registered."""
    return bijection.transform(x, condition_for(bijection, condition))


@singledispatch
def inverted(bijection: AbstractBijection, y: Array, condition: Array | None) -> Array:
    """The value of its inverse at ``y``, by its own ``inverse`` if no rule is registered."""
    return bijection.inverse(y, condition_for(bijection, condition))


@singledispatch
def pushforward(
    layer, x: Array, frame: Float[Array, "k ..."], condition: Array | None
) -> tuple[Array, Float[Array, "k ..."]]:
    """The value of a chart or bijection at ``x`` and the images of the rows of ``frame``.

    The rule for anything that registers none: linearize once, apply to every row. A layer that
    has a rule for columns registers `by_columns`.
    """
    condition = condition_for(layer, condition)
    function = layer.transform if isinstance(layer, AbstractBijection) else layer.decode
    y, differential = jax.linearize(lambda x: function(x, condition), x)
    return y, jax.vmap(differential)(frame)


@singledispatch
def push_columns(
    layer, x: Array, columns: Float[Array, "... k"], condition: Array | None
) -> tuple[Array, Float[Array, "... k"]]:
    """As ``pushforward``, of columns.

    So between layers: to permute coordinates, and to split and join them, then moves whole runs of
    k numbers. Along rows of several thousand it would take half of the time.
    """
    y, frame = pushforward(layer, x, jnp.moveaxis(columns, -1, 0), condition)
    return y, jnp.moveaxis(frame, 0, -1)


def by_columns(
    layer, x: Array, frame: Float[Array, "k ..."], condition: Array | None
) -> tuple[Array, Float[Array, "k ..."]]:
    """The ``pushforward`` of a layer that has a rule for columns."""
    y, columns = push_columns(layer, x, jnp.moveaxis(frame, 0, -1), condition)
    return y, jnp.moveaxis(columns, -1, 0)


@singledispatch
def push_conormals(
    layer: AbstractBijection, x: Array, covectors: Float[Array, "k ..."], condition: Array | None
) -> tuple[Array, Scalar, Float[Array, "k ..."]]:
    """The value of a bijection at ``x``, log |det A| there, and the rows of ``covectors`` A^-1.

    The rule for anything that registers none: reverse passes through the inverse.
    """
    condition = condition_for(layer, condition)
    y, log_det = layer.transform_and_log_det(x, condition)
    _, pullback = jax.vjp(lambda y: layer.inverse(y, condition), y)
    return y, log_det, jax.vmap(lambda covector: pullback(covector)[0])(covectors)
