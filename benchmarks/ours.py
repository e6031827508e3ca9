"""Our flows and training steps, as the benchmarks time them."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.random as jr
from sizes import BATCH, Size
from timing import Call

from mflows.flow import Flow
from mflows.models import ambient_flow, m_flow
from mflows.training import Batch, Phase
from mflows.training.epoch import begin, optimizer, trainable
from mflows.training.rows import Rows


def m_flow_of(size: Size) -> Flow:
    """An M-flow."""
    return m_flow(
        jr.key(0),
        (size.dim,),
        size.latent_dim,
        chart_layers=size.layers,
        latent_layers=size.layers,
        linear=size.linear,
        bins=size.bins,
        width=size.width,
        blocks=size.blocks,
    )


def ambient_flow_of(size: Size, layers: int) -> Flow:
    """An ambient flow of the same kind of layers."""
    return ambient_flow(
        jr.key(0),
        (size.dim,),
        layers=layers,
        linear=size.linear,
        bins=size.bins,
        width=size.width,
        blocks=size.blocks,
    )


def disturbed(flow: Flow) -> Flow:
    """Weights of the size that training gives them: the identity would flatter every method."""
    weights, rest = trainable(flow, ("chart",))
    leaves, structure = jax.tree.flatten(weights)
    keys = jr.split(jr.key(5), len(leaves))
    moved = [
        leaf + 0.05 * jr.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(structure, moved), rest)


def training(
    flow: Flow, objective, trains: tuple[str, ...], x, steps: int, batch_size: int = BATCH
) -> Call:
    """``steps`` training steps on the points ``x``, as ``fit`` does them, less what it prints."""
    phase = Phase(objective, trains, epochs=1000, batch_size=batch_size)
    loop, state = begin(jr.key(2), flow, phase, Rows(Batch(x[: steps * batch_size], None)))

    def call():
        jax.block_until_ready(loop.epoch(state, 0)[1].train)

    return Call(call, steps)


def one_step(
    flow: Flow, objective, trains: tuple[str, ...], x
) -> tuple[Callable[..., object], tuple[object, ...]]:
    """A single training step as a function and its arguments, for counting what it does."""
    phase = Phase(objective, trains, epochs=1000, batch_size=len(x))
    loop, state = begin(jr.key(0), flow, phase, Rows(Batch(x, None)))

    def step(state, fixed, x, key):
        gradient = jax.grad(fixed.loss)(state.parameters, Batch(x, None), key)
        update = optimizer(fixed.phase, fixed.rate).update
        updates, moments = update(gradient, state.optimizer, state.parameters)
        return eqx.apply_updates(state.parameters, updates), moments

    return step, (state, loop.fixed, x, jr.key(1))
