r"""Pushforward: carry tangent vectors through a map, the core kernel of the library.

A decoder's Jacobian is wanted along n tangent vectors. In general ``jax.linearize`` once and a
``vmap`` of the linear map is the cheapest; coupling layers do better
(see ``mflows.tangents.coupling``).
"""

from functools import singledispatch

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Chain, Coupling, Invert, Permute, Sandwich, Scan
from jaxtyping import Array, Float
from paramax import unwrap

from mflows.nets import full_precision
from mflows.tangents.coupling import hidden_layers, move


def condition_for(part, condition: Array | None) -> Array | None:
    """The condition, if ``part`` depends on one. FlowJAX couplings must not be given another."""
    return None if part.cond_shape is None else condition


@singledispatch
def pushforward(
    layer, x: Array, frame: Float[Array, "k ..."], condition: Array | None
) -> tuple[Array, Float[Array, "k ..."]]:
    """The value of a chart or bijection at ``x`` and the images of the rows of ``frame``.

    The rule for anything that registers none: linearize once, apply to every row.
    """
    condition = condition_for(layer, condition)
    function = layer.transform if isinstance(layer, AbstractBijection) else layer.decode
    y, differential = jax.linearize(lambda x: function(x, condition), x)
    return y, jax.vmap(differential)(frame)


@pushforward.register(Coupling)
@pushforward.register(Chain)
@pushforward.register(Sandwich)
@pushforward.register(Scan)
def _(layer, x, frame, condition):
    y, columns = _push_columns(layer, x, jnp.moveaxis(frame, 0, -1), condition)
    return y, jnp.moveaxis(columns, -1, 0)


@singledispatch
def _push_columns(
    layer, x: Array, columns: Float[Array, "... k"], condition: Array | None
) -> tuple[Array, Float[Array, "... k"]]:
    """As ``pushforward``, of columns.

    So between layers: to permute coordinates, and to split and join them, then moves whole runs of
    k numbers. Along rows of several thousand it would take half of the time.
    """
    y, frame = pushforward(layer, x, jnp.moveaxis(columns, -1, 0), condition)
    return y, jnp.moveaxis(frame, 0, -1)


@_push_columns.register
def _(layer: Coupling, x, columns, condition):
    layer, condition = unwrap(layer), condition_for(layer, condition)
    split = layer.untransformed_dim
    h, differential = jax.linearize(hidden_layers(layer, condition), x[:split])
    y, slope, folded = move(layer, h, x[split:])
    dh = jax.vmap(differential, -1, -1)(columns[:split])
    with full_precision():
        moved = slope[:, None] * columns[split:] + folded @ dh
    return jnp.hstack((x[:split], y)), jnp.vstack((columns[:split], moved))


@_push_columns.register
def _(layer: Permute, x, columns, condition):
    return x[layer.permutation], columns[layer.permutation]


@_push_columns.register
def _(layer: Invert, x, columns, condition):
    if not isinstance(layer.bijection, Permute):
        return _push_columns.dispatch(object)(layer, x, columns, condition)
    order = layer.bijection.inverse_permutation
    return x[order], columns[order]


@_push_columns.register
def _(layer: Chain, x, columns, condition):
    for bijection in layer.bijections:
        x, columns = _push_columns(bijection, x, columns, condition)
    return x, columns


@_push_columns.register
def _(layer: Sandwich, x, columns, condition):
    chain = Chain([layer.outer, layer.inner, Invert(layer.outer)])
    return _push_columns(chain, x, columns, condition)


@_push_columns.register
def _(layer: Scan, x, columns, condition):
    arrays, static = eqx.partition(layer.bijection, eqx.is_array)

    def step(carry, arrays):
        return _push_columns(eqx.combine(arrays, static), *carry, condition), None

    # A gradient keeps what enters a layer: columns of all that is inside are many times as much.
    return jax.lax.scan(jax.checkpoint(step, prevent_cse=False), (x, columns), arrays)[0]
