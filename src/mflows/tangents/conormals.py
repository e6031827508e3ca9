r"""Conormals: carry covectors through a bijection, from its domain to its image.

A covector w at x becomes  w A^-1  at y = f(x), with A = df/dx, so that its products with tangents
stay what they were. Covectors that vanish on a manifold, its conormals, thus remain conormals. In
general ``jax.vjp`` of the inverse does it. For a coupling layer, with w = (kept, moved),

    w A^-1 = (w_kept - v M dh/dkept,  v),    v = w_moved / slope

is one reverse pass of the small hidden layers at the point where the layer is evaluated anyway.
"""

from functools import singledispatch

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection, Chain, Coupling, Invert, Sandwich, Scan
from jaxtyping import Array, Float, Scalar
from paramax import unwrap

from mflows.nets import full_precision
from mflows.tangents.coupling import hidden_layers, move
from mflows.tangents.pushforward import condition_for


@singledispatch
def push_conormals(
    layer: AbstractBijection, x: Array, covectors: Float[Array, "k D"], condition: Array | None
) -> tuple[Array, Scalar, Float[Array, "k D"]]:
    """The value of a bijection at ``x``, log |det A| there, and the rows of ``covectors`` A^-1.

    The rule for anything that registers none: reverse passes through the inverse.
    """
    condition = condition_for(layer, condition)
    y, log_det = layer.transform_and_log_det(x, condition)
    _, pullback = jax.vjp(lambda y: layer.inverse(y, condition), y)
    return y, log_det, jax.vmap(lambda covector: pullback(covector)[0])(covectors)


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


@push_conormals.register
def _(layer: Chain, x, covectors, condition):
    total = jnp.zeros((), x.dtype)
    for bijection in layer.bijections:
        x, log_det, covectors = push_conormals(bijection, x, covectors, condition)
        total += log_det
    return x, total, covectors


@push_conormals.register
def _(layer: Sandwich, x, covectors, condition):
    chain = Chain([layer.outer, layer.inner, Invert(layer.outer)])
    return push_conormals(chain, x, covectors, condition)


@push_conormals.register
def _(layer: Scan, x, covectors, condition):
    arrays, static = eqx.partition(layer.bijection, eqx.is_array)

    def step(carry, arrays):
        x, total, covectors = carry
        layer = eqx.combine(arrays, static)
        x, log_det, covectors = push_conormals(layer, x, covectors, condition)
        return (x, total + log_det, covectors), None

    return jax.lax.scan(step, (x, jnp.zeros((), x.dtype), covectors), arrays)[0]
