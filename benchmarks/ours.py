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
from mflows.training.epoch import (
    decay,
    initial_state,
    optimizer,
    players,
    run_epoch,
    trainable,
)
from mflows.training.rows import InMemory


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
    parameters, frozen = players(jr.key(0), flow, phase)
    state, rows = initial_state(parameters, phase), InMemory(Batch(x[: steps * batch_size], None))

    def call():
        jax.block_until_ready(
            run_epoch(state, frozen, phase, 1000 * steps, rows, None, jr.key(2), 0)[1].train
        )

    return Call(call, steps)


def one_step(
    flow: Flow, objective, trains: tuple[str, ...], x
) -> tuple[Callable[..., object], tuple[object, ...]]:
    """A single training step as a function and its arguments, for counting what it does."""
    phase = Phase(objective, trains, epochs=1000, batch_size=len(x))
    parameters, frozen = players(jr.key(0), flow, phase)
    moments, rate = initial_state(parameters, phase).optimizer, decay(phase, 1000)

    def loss(parameters, frozen, x, key):
        return phase.objective(eqx.combine(parameters, frozen).flow, Batch(x, None), key)

    def step(parameters, frozen, moments, x, key):
        gradient = jax.grad(loss)(parameters, frozen, x, key)
        updates, moments = optimizer(phase, rate).update(gradient, moments, parameters)
        return eqx.apply_updates(parameters, updates), moments

    return step, (parameters, frozen, moments, x, jr.key(1))
