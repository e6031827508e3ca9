r"""Values, tangents and covectors of a coupling layer.

A coupling layer keeps some coordinates and moves the others,

    y_j = t(x_j; theta_j),    theta = W h(kept, condition) + b

One reverse pass of the *scalar* transformer t gives its slope dt/dx_j and dt/dtheta_j, and
M_j = (dt/dtheta_j) W_j is folded once. Then

    dy_j = (dt/dx_j) dx_j + M_j dh,
    w A^-1 = (w_kept - v M dh/dkept,  v),    v = w_moved / slope,

and a tangent or a covector passes only through the small hidden layers and M, never through the
wide last layer.
"""

from collections.abc import Callable
from functools import singledispatch
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Coupling
from jaxtyping import Array, Float
from paramax import unwrap

from mflows.nets import AngularMLP, ResidualMLP, full_precision
from mflows.tangents.rules import (
    by_columns,
    condition_for,
    inverted,
    push_columns,
    push_conormals,
    pushforward,
    transformed,
)

pushforward.register(Coupling, by_columns)


@transformed.register
def _(layer: Coupling, x, condition):
    return _coupled(layer, x, condition, lambda transformer, x: transformer.transform(x))


@inverted.register
def _(layer: Coupling, y, condition):
    return _coupled(layer, y, condition, lambda transformer, y: transformer.inverse(y))


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


@push_columns.register
def _(layer: Coupling, x, columns, condition):
    layer, condition = unwrap(layer), condition_for(layer, condition)
    split = layer.untransformed_dim
    h, differential = jax.linearize(hidden_layers(layer, condition), x[:split])
    y, slope, folded = move(layer, h, x[split:])
    dh = jax.vmap(differential, -1, -1)(columns[:split])
    with full_precision():
        moved = slope[:, None] * columns[split:] + folded @ dh
    return jnp.hstack((x[:split], y)), jnp.vstack((columns[:split], moved))


@push_conormals.register
def _(layer: Coupling, x, covectors, condition):
    layer, condition = unwrap(layer), condition_for(layer, condition)
    split = layer.untransformed_dim
    h, pullback = jax.vjp(hidden_layers(layer, condition), x[:split])
    y, slope, folded = move(layer, h, x[split:])
    ahead = covectors[:, split:] / slope
    with full_precision():
        covectors_of_h = ahead @ folded
    back = jax.vmap(lambda covector: pullback(covector)[0])(covectors_of_h)
    covectors = jnp.hstack((covectors[:, :split] - back, ahead))
    return jnp.hstack((x[:split], y)), jnp.log(jnp.abs(slope)).sum(), covectors


class Moved(NamedTuple):
    """The coordinates y_j that a coupling moves, their slopes dt/dx_j, and the rows M_j."""

    y: Float[Array, " moved"]
    slope: Float[Array, " moved"]
    folded: Float[Array, "moved width"]


def hidden_layers(layer: Coupling, condition: Array | None) -> Callable[[Array], Array]:
    """The function h of the kept coordinates."""
    hidden, _ = _hidden_and_last(layer.conditioner)
    return lambda kept: hidden(kept if condition is None else jnp.hstack((kept, condition)))


def move(layer: Coupling, h: Float[Array, " width"], x: Float[Array, " moved"]) -> Moved:
    """Move the coordinates ``x`` of an unwrapped layer, given its hidden layers' output."""
    _, last = _hidden_and_last(layer.conditioner)

    def transformer(x, theta):
        return unwrap(layer.transformer_constructor(theta)).transform(x)

    theta = last(h).reshape(x.size, -1)
    y, (slope, dtheta) = jax.vmap(jax.value_and_grad(transformer, (0, 1)))(x, theta)
    weights = last.weight.reshape(*dtheta.shape, -1)
    with full_precision():
        folded = jnp.einsum("jp,jpw->jw", dtheta, weights)
    return Moved(y, slope, folded)


@singledispatch
def _hidden_and_last(conditioner) -> tuple[Callable[[Array], Array], eqx.nn.Linear]:
    raise TypeError(
        "Expected the conditioner of a coupling layer to be an eqx.nn.MLP or a ResidualMLP; got "
        f"{type(conditioner).__name__}."
    )


@_hidden_and_last.register
def _(conditioner: ResidualMLP | AngularMLP):
    return conditioner.hidden, conditioner.last


@_hidden_and_last.register
def _(conditioner: eqx.nn.MLP):
    *layers, last = conditioner.layers

    def hidden(x):
        for layer in layers:
            x = conditioner.activation(layer(x))
        return x

    return hidden, last
