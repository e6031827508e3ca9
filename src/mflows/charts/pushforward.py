r"""Pushforward: carry tangent vectors through a map, the core kernel of the library.

A decoder's Jacobian is wanted along n tangent vectors. In general ``jax.linearize`` once and a
``vmap`` of the linear map is the cheapest. A coupling layer  y_j = t(x_j; theta_j),
theta = W h(cond) + b,  has the closed form

    dy_j = (dt/dx_j) dx_j + (dt/dtheta_j . W_j) dh

One reverse pass of the *scalar* transformer t gives dt/dx and dt/dtheta for all tangents at once.
M_j = (dt/dtheta_j) W_j is folded once; each tangent then passes only through the small hidden
layers and M, never through the wide last layer.
"""

from collections.abc import Callable
from functools import singledispatch

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Chain, Coupling, Invert, Sandwich, Scan
from jaxtyping import Array, Float
from paramax import unwrap

from mflows.nets import ResidualMLP


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
    hidden, last = _hidden_and_last(layer.conditioner)

    def hidden_at(kept):
        return hidden(kept if condition is None else jnp.hstack((kept, condition)))

    h, dhidden = jax.linearize(hidden_at, x[:split])
    dh = jax.vmap(dhidden)(frame[:, :split])

    def transformer(x, theta):
        return unwrap(layer.transformer_constructor(theta)).transform(x)

    features = layer.dim - split
    theta = last(h).reshape(features, -1)
    y, (dx, dtheta) = jax.vmap(jax.value_and_grad(transformer, (0, 1)))(x[split:], theta)
    folded = jnp.einsum("jp,jpw->jw", dtheta, last.weight.reshape(*dtheta.shape, -1))
    tangents = frame[:, split:] * dx + dh @ folded.T
    return jnp.hstack((x[:split], y)), jnp.hstack((frame[:, :split], tangents))


@singledispatch
def _hidden_and_last(conditioner) -> tuple[Callable[[Array], Array], eqx.nn.Linear]:
    raise TypeError(
        "Expected the conditioner of a coupling layer to be an eqx.nn.MLP or a ResidualMLP; got "
        f"{type(conditioner).__name__}."
    )


@_hidden_and_last.register
def _(conditioner: ResidualMLP):
    return conditioner.hidden, conditioner.last


@_hidden_and_last.register
def _(conditioner: eqx.nn.MLP):
    *layers, last = conditioner.layers

    def hidden(x):
        for layer in layers:
            x = conditioner.activation(layer(x))
        return x

    return hidden, last


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
