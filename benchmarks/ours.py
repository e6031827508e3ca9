"""Our flows and training steps, as the benchmarks time them."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from sizes import BATCH, Size
from timing import Call

from mflows.flow import Flow
from mflows.models import ambient_flow, m_flow
from mflows.training import (
    Batch,
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Phase,
    Reconstruction,
)
from mflows.training.epoch import begin, optimizer, trainable
from mflows.training.objectives import ReconstructionAndLikelihood
from mflows.training.rows import Rows

STEPS = 20
"""Steps per timed call, to hide the cost of dispatch."""


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


def points_of(size: Size, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Points to train on, and so many to evaluate."""
    x = np.asarray(jr.normal(jr.key(1), ((STEPS + 1) * BATCH, size.dim)))
    return x, 0.1 * np.asarray(jr.normal(jr.key(3), (points, size.dim)))


def questions(size: Size, points: int) -> dict[str, Call]:
    """What the benchmarks of tables time."""
    x, near = points_of(size, points)
    u = x[:, : size.latent_dim]
    flow, ambient = m_flow_of(size), ambient_flow_of(size, 2 * size.layers)

    def ready(function) -> Call:
        return Call(lambda: jax.block_until_ready(function()))

    exact = ReconstructionAndLikelihood()
    return {
        "manifold step": training(flow, Reconstruction(), ("chart",), x, STEPS),
        "density step": training(flow, LatentNegativeLogLikelihood(), ("latent",), u, STEPS),
        "ambient step": training(ambient, NegativeLogLikelihood(), ("chart",), x, STEPS),
        "exact-likelihood step": training(flow, exact, ("chart", "latent"), x, STEPS),
        "exact log-likelihood": ready(lambda: flow.log_prob(near)),
        "ambient log-likelihood": ready(lambda: ambient.log_prob(near)),
        "sampling": ready(lambda: flow.sample(jr.key(4), (points,))),
    }


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
