r"""Layers made of others: chains, sandwiches, scans, inverses, permutations, pieces, reshaped ones.

Each asks its parts, so that a coupling is folded wherever it sits.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import (
    Chain,
    Concatenate,
    Identity,
    Invert,
    Permute,
    Reshape,
    Sandwich,
    Scan,
)

from mflows.tangents.rules import (
    by_columns,
    inverted,
    push_columns,
    push_conormals,
    pushforward,
    transformed,
)

for kind in (Chain, Concatenate, Sandwich, Scan, Reshape):
    pushforward.register(kind, by_columns)


@transformed.register
def _(layer: Chain, x, condition):
    for part in layer.bijections:
        x = transformed(part, x, condition)
    return x


@inverted.register
def _(layer: Chain, y, condition):
    for part in reversed(layer.bijections):
        y = inverted(part, y, condition)
    return y


@push_columns.register
def _(layer: Chain, x, columns, condition):
    for part in layer.bijections:
        x, columns = push_columns(part, x, columns, condition)
    return x, columns


@push_conormals.register
def _(layer: Chain, x, covectors, condition):
    total = jnp.zeros((), x.dtype)
    for part in layer.bijections:
        x, log_det, covectors = push_conormals(part, x, covectors, condition)
        total += log_det
    return x, total, covectors


def _chained(layer: Sandwich) -> Chain:
    return Chain([layer.outer, layer.inner, Invert(layer.outer)])


def _of_chain(rule: Callable) -> Callable:
    return lambda layer, *arguments: rule(_chained(layer), *arguments)


for rule in (transformed, inverted, push_columns, push_conormals):
    rule.register(Sandwich, _of_chain(rule))


@push_columns.register
def _(layer: Scan, x, columns, condition):
    arrays, static = eqx.partition(layer.bijection, eqx.is_array)

    def step(carry, arrays):
        x, columns = carry
        return push_columns(eqx.combine(arrays, static), x, columns, condition), None

    # A gradient keeps what enters a layer: columns of all that is inside are many times as much.
    return jax.lax.scan(jax.checkpoint(step, prevent_cse=False), (x, columns), arrays)[0]


@push_conormals.register
def _(layer: Scan, x, covectors, condition):
    arrays, static = eqx.partition(layer.bijection, eqx.is_array)

    def step(carry, arrays):
        x, total, covectors = carry
        part = eqx.combine(arrays, static)
        x, log_det, covectors = push_conormals(part, x, covectors, condition)
        return (x, total + log_det, covectors), None

    return jax.lax.scan(step, (x, jnp.zeros((), x.dtype), covectors), arrays)[0]


transformed.register(Invert, lambda layer, x, condition: inverted(layer.bijection, x, condition))
inverted.register(Invert, lambda layer, y, condition: transformed(layer.bijection, y, condition))


@push_columns.register
def _(layer: Invert, x, columns, condition):
    if not isinstance(layer.bijection, Permute):
        return push_columns.dispatch(object)(layer, x, columns, condition)
    order = layer.bijection.inverse_permutation
    return x[order], columns[order]


@push_columns.register
def _(layer: Permute, x, columns, condition):
    return x[layer.permutation], columns[layer.permutation]


for rule in (transformed, inverted):
    rule.register(Identity, lambda layer, x, condition: x)

for rule in (push_columns, pushforward):
    rule.register(Identity, lambda layer, x, tangents, condition: (x, tangents))


@transformed.register
def _(layer: Concatenate, x, condition):
    pieces = jnp.split(x, layer.split_idxs)
    done = [transformed(*each, condition) for each in zip(layer.bijections, pieces, strict=True)]
    return jnp.concatenate(done)


@inverted.register
def _(layer: Concatenate, y, condition):
    pieces = jnp.split(y, layer.split_idxs)
    done = [inverted(*each, condition) for each in zip(layer.bijections, pieces, strict=True)]
    return jnp.concatenate(done)


@push_columns.register
def _(layer: Concatenate, x, columns, condition):
    pieces = [jnp.split(array, layer.split_idxs) for array in (x, columns)]
    done = [
        push_columns(bijection, x, columns, condition)
        for bijection, x, columns in zip(layer.bijections, *pieces, strict=True)
    ]
    x, columns = map(jnp.concatenate, zip(*done, strict=True))
    return x, columns


@transformed.register
def _(layer: Reshape, x, condition):
    return transformed(layer.bijection, _inside(layer, x), condition).reshape(layer.shape)


@inverted.register
def _(layer: Reshape, y, condition):
    return inverted(layer.bijection, _inside(layer, y), condition).reshape(layer.shape)


@push_columns.register
def _(layer: Reshape, x, columns, condition):
    inner, k = layer.bijection, columns.shape[-1]
    columns = columns.reshape(*inner.shape, k)
    y, columns = push_columns(inner, _inside(layer, x), columns, condition)
    return y.reshape(layer.shape), columns.reshape(*layer.shape, k)


@push_conormals.register
def _(layer: Reshape, x, covectors, condition):
    inner, k = layer.bijection, len(covectors)
    covectors = covectors.reshape(k, *inner.shape)
    y, log_det, covectors = push_conormals(inner, _inside(layer, x), covectors, condition)
    return y.reshape(layer.shape), log_det, covectors.reshape(k, *layer.shape)


def _inside(layer: Reshape, x):
    return x.reshape(layer.bijection.shape)
