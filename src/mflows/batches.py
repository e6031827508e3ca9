"""Methods of one point applied to batches: broadcast, compiled, and in blocks that bound memory.

A flow is written for one point. Its public methods come here with a one-point method of the class,
``Flow._log_prob`` and not ``flow._log_prob``: so flows of one structure share a compiled program.
Here shapes and conditions are checked, and points are cut into blocks.
"""

import math
from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.core import Tracer
from jax.lax import dynamic_slice_in_dim
from jaxtyping import Array, PRNGKeyArray
from paramax import unwrap

from mflows.keys import checked

POINTS_AT_ONCE = 2048
"""Points evaluated at once: bounds memory, large enough to use the whole machine."""
LARGEST_TO_SMALLEST = 32
"""A block has at least the largest size over this: few points cost less than another program."""
BLOCKS_AT_ONCE = 64
"""Blocks cut and joined at once: programs of very many take long to compile."""
_NUMBERS_AT_ONCE = 1 << 25
"""The same in numbers, for points with large Jacobians or large layers."""


def over_points(
    method: Callable, flow, x: Array, shape: tuple[int, ...], condition, key=None, *, inner: int = 1
):
    """Apply a one-point method to a batch of points, compiled, at most so many at once.

    The points, and what the method returns, are in the flow's own coordinates, the condition in
    those of its user. With a key, every point gets one of its own. ``inner`` is how many points of
    the manifold the method looks at for each.
    """
    batch = batch_shape("u", x.shape, shape)
    condition, conditions = _checked_condition(flow, condition)
    batch = jnp.broadcast_shapes(batch, conditions)
    points = jnp.broadcast_to(x, batch + shape).reshape(-1, *shape)
    keys = None if key is None else jr.split(checked(key), math.prod(batch))
    return _over_batch(method, flow, batch, points, condition, keys, inner)


def at_point(method: Callable, flow, x: Array, shape: tuple[int, ...], condition):
    """Apply a one-point method to one point, with a program of its own: for who waits for it.

    A block of `over_points` has many points, and takes as long for one of them as for all.
    """
    if batch_shape("u", x.shape, shape):
        raise ValueError(_wrong_shape("one point", shape, x.shape))
    condition, conditions = _checked_condition(flow, condition)
    if conditions:
        raise ValueError(_wrong_shape("one condition", flow.cond_shape, conditions))
    return _one(method, flow, (x, condition))


def over_keys(method: Callable, flow, key: PRNGKeyArray, sample_shape, condition):
    """Apply a method of one random key, so many times for every condition."""
    condition, conditions = _checked_condition(flow, condition)
    if isinstance(sample_shape, int | np.integer):
        sample_shape = (sample_shape,)
    batch = (*map(int, sample_shape), *conditions)
    if any(size < 0 for size in batch):
        raise ValueError(f"Expected a sample_shape of sizes >= 0; got {tuple(sample_shape)}.")
    return _over_batch(method, flow, batch, jr.split(checked(key), math.prod(batch)), condition)


def _over_batch(
    method: Callable, flow, batch: tuple[int, ...], points: Array, condition, keys=None, inner=1
):
    if condition is not None:
        condition = jnp.broadcast_to(condition, batch + flow.cond_shape)
        condition = condition.reshape(-1, *flow.cond_shape)
    arguments = (points, condition) if keys is None else (points, condition, keys)
    flat = _mapped(method, flow, arguments, _at_once(flow, inner))
    return jax.tree.map(lambda leaf: leaf.reshape(batch + leaf.shape[1:]), flat)


def batch_shape(name: str, got: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The batch shape of an array of this shape whose points have that one."""
    split = len(got) - len(shape)
    if split < 0 or got[split:] != shape:
        raise ValueError(_wrong_shape(name, shape, got))
    return got[:split]


def _checked_condition(flow, condition) -> tuple[Array | None, tuple[int, ...]]:
    """The condition in the flow's own coordinates, and its batch shape."""
    shape = flow.cond_shape
    if shape is None:
        if condition is not None:
            raise ValueError(
                "Expected no condition for this flow, which does not depend on one; got one of "
                f"shape {np.shape(condition)}."
            )
        return None, ()
    if condition is None:
        raise ValueError(
            f"Expected a condition of shape {_starred(shape)} for this conditional flow; got none."
        )
    batch = batch_shape("condition", np.shape(condition), shape)
    return flow.own_condition(condition), batch


def _mapped(method: Callable, flow, arguments: tuple[Array, *tuple[Array | None, ...]], most: int):
    """A one-point method at every point, in one or more blocks of a power of two.

    So a handful of compiled functions serve any number of points.
    """
    points = arguments[0]
    if isinstance(points, Tracer):  # the caller compiles
        return jax.lax.map(_of_point(method, flow), arguments, batch_size=most)
    count = len(points)
    size = min(most, max(1 << max(count - 1, 0).bit_length(), most // LARGEST_TO_SMALLEST))
    together = size * BLOCKS_AT_ONCE
    if count <= together:
        return _in_blocks(method, flow, arguments, size)
    parts = []
    for start in range(0, count, together):
        rows = partial(
            dynamic_slice_in_dim, start_index=start, slice_size=min(together, count - start)
        )
        parts.append(_in_blocks(method, flow, jax.tree.map(rows, arguments), size))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _in_blocks(
    method: Callable, flow, arguments: tuple[Array, *tuple[Array | None, ...]], size: int
):
    done = [_block(method, flow, block) for block in _cut(arguments, size=size)]
    return _joined(done, count=len(arguments[0]))


@partial(jax.jit, static_argnames="size")
def _cut(arguments, size: int) -> list:
    """Blocks of ``size`` points, the last one filled up with zeros; one dispatch for all."""
    blocks = max(-(-len(arguments[0]) // size), 1)

    def filled(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jr.wrap_key_data(filled(jr.key_data(leaf)), impl=jr.key_impl(leaf))
        return jnp.pad(leaf, [(0, blocks * size - len(leaf))] + [(0, 0)] * (leaf.ndim - 1))

    whole = jax.tree.map(filled, arguments)
    return [
        jax.tree.map(lambda leaf, i=i: leaf[i * size : (i + 1) * size], whole)
        for i in range(blocks)
    ]


@partial(jax.jit, static_argnames="count")
def _joined(blocks: list, count: int):
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *blocks)


def _at_once(flow, inner: int = 1) -> int:
    """Points per block, a power of two, for a method that looks at ``inner`` points for each."""
    tangents = 0 if flow.is_ambient else flow.latent_dim
    numbers = flow.dim * max(tangents, 32)  # the second: parameters of a spline
    most = min(POINTS_AT_ONCE, _NUMBERS_AT_ONCE // numbers) // inner
    return 1 << (max(most, 1).bit_length() - 1)


@eqx.filter_jit
def _block(method: Callable, flow, arguments: tuple[Array | None, ...]):
    return jax.vmap(_of_point(method, flow))(arguments)


@eqx.filter_jit
def _one(method: Callable, flow, arguments: tuple[Array, Array | None]):
    return _of_point(method, flow)(arguments)


def _of_point(method: Callable, flow):
    """The function of (point, condition) that ``method`` is for this flow."""
    own = unwrap(flow).own()
    return lambda arguments: method(own, *arguments)


def _starred(shape: tuple[int, ...]) -> str:
    return f"(*, {', '.join(map(str, shape))})"


def _wrong_shape(name: str, expected: tuple[int, ...], got: tuple[int, ...]) -> str:
    message = f"Expected {name} of shape {_starred(expected)} for this flow; got {got}."
    if name == "x" and len(got) >= 1 and got[-1] > expected[-1]:
        message += " Is a condition column still in x?"
    return message
