r"""Pushforward: carry tangent vectors through a map, the core kernel of the library.

A decoder's Jacobian is wanted along n tangent vectors. In general ``jax.linearize`` once and a
``vmap`` of the linear map is the cheapest; coupling layers do better
(see ``mflows.charts.coupling``).
"""

from functools import singledispatch

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Chain, Coupling, Invert, Sandwich, Scan
from jaxtyping import Array, Float
from paramax import unwrap

from mflows.charts.coupling import hidden_layers, move
from mflows.nets import full_precision


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


@pushforward.register
def _(layer: Coupling, x, frame, condition):
    layer, condition = unwrap(layer), condition_for(layer, condition)
    split = layer.untransformed_dim
    h, differential = jax.linearize(hidden_layers(layer, condition), x[:split])
    y, slope, folded = move(layer, h, x[split:])
    dh = jax.vmap(differential)(frame[:, :split])
    with full_precision():
        tangents = frame[:, split:] * slope + dh @ folded.T
    return jnp.hstack((x[:split], y)), jnp.hstack((frame[:, :split], tangents))


@pushforward.register
def _(layer: Chain, x, frame, condition):
    for bijection in layer.bijections:
        x, frame = pushforward(bijection, x, frame, condition)
    return x, frame


@pushforward.register
def _(layer: Sandwich, x, frame, condition):
    return pushforward(Chain([layer.outer, layer.inner, Invert(layer.outer)]), x, frame, condition)


@pushforward.register
def _(layer: Scan, x, frame, condition):
    arrays, static = eqx.partition(layer.bijection, eqx.is_array)

    def step(carry, arrays):
        return pushforward(eqx.combine(arrays, static), *carry, condition), None

    return jax.lax.scan(step, (x, frame), arrays)[0]
