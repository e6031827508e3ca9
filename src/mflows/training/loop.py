"""The compiled inner loop: one epoch is one call, its steps one scan on the device.

Everything a phase carries from epoch to epoch is a value in ``State``; the best parameters so far
are kept as values too, so restoring them cannot alias the live ones.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree, Scalar
from paramax import NonTrainable

from mflows.flow import Flow
from mflows.training.phase import Batch, Phase, Supervised


class Players(NamedTuple):
    """The flow, and a network that maximises what the flow minimises; most phases have none."""

    flow: PyTree
    opponent: PyTree


class State(NamedTuple):
    """What one phase carries: live and best parameters, optimiser, best validation loss."""

    parameters: Players
    best: Players
    optimizer: PyTree
    best_loss: Scalar


class Losses(NamedTuple):
    """Mean training loss over the epoch's steps, and validation loss after it."""

    train: Array
    validation: Array


def trainable(flow: Flow, trains: tuple[str, ...]) -> tuple[PyTree, PyTree]:
    """Split a flow into the parameters that a phase trains and everything else."""
    parts = {
        name: jax.tree.map(
            lambda leaf, on=name in trains: on and eqx.is_inexact_array(leaf),
            getattr(flow, name),
            is_leaf=lambda leaf: isinstance(leaf, NonTrainable),
        )
        for name in ("chart", "latent")
    }
    spec = jax.tree.map(lambda _: False, flow, is_leaf=lambda leaf: isinstance(leaf, NonTrainable))
    spec = eqx.tree_at(lambda f: (f.chart, f.latent), spec, (parts["chart"], parts["latent"]))
    return eqx.partition(flow, spec, is_leaf=lambda leaf: isinstance(leaf, NonTrainable))


def optimizer(phase: Phase, steps: int) -> optax.GradientTransformation:
    """AdamW with clipped gradients and cosine decay to zero over ``steps``."""
    schedule = optax.cosine_decay_schedule(phase.learning_rate, steps)
    return optax.chain(
        optax.clip_by_global_norm(phase.clip),
        optax.adamw(schedule, b1=phase.momentum, weight_decay=phase.weight_decay),
    )


def players(key: PRNGKeyArray, flow: Flow, phase: Phase) -> tuple[Players, Players]:
    """What trains and what is frozen; ``key`` is for the weights of an opponent."""
    make = getattr(phase.objective, "opponent", None)
    opponent = None if make is None else make(key, flow)
    trained, frozen = trainable(flow, phase.trains)
    weights, rest = eqx.partition(opponent, eqx.is_inexact_array)
    return Players(trained, weights), Players(frozen, rest)


def initial_state(parameters: Players, phase: Phase) -> State:
    """The state of a phase before its first step."""
    return State(
        parameters,
        parameters,
        optimizer(phase, 1).init(parameters),
        jnp.full((), jnp.inf, dtype=float),
    )


@eqx.filter_jit
def run_epoch(
    state: State,
    frozen: Players,
    phase: Phase,
    total_steps: int,
    train: Batch | Supervised,
    validation: Batch | Supervised | None,
    key: PRNGKeyArray,
) -> tuple[State, Losses]:
    """One pass over the training data, then the validation loss."""
    update = optimizer(phase, total_steps).update
    order_key, step_key, validation_key = jr.split(key, 3)

    def loss(parameters, batch, key):
        flow, opponent = eqx.combine(parameters, frozen)
        against = () if opponent is None else (opponent,)
        return phase.objective(flow, batch, key, *against)

    def step(carry, inputs):
        parameters, moments = carry
        batch, key = inputs
        value, gradient = jax.value_and_grad(loss)(parameters, batch, key)
        gradient = gradient._replace(opponent=jax.tree.map(jnp.negative, gradient.opponent))
        updates, moments = update(gradient, moments, parameters)
        return (eqx.apply_updates(parameters, updates), moments), value

    batches = _batches(train, phase.batch_size, jr.permutation(order_key, train.x.shape[0]))
    keys = jr.split(step_key, batches.x.shape[0])
    (parameters, moments), values = jax.lax.scan(
        step, (state.parameters, state.optimizer), (batches, keys)
    )
    train_loss = values.mean()
    validate = getattr(phase.objective, "validate", None)
    if validate is not None:
        judged = train if validation is None else validation
        flow = eqx.combine(parameters.flow, frozen.flow)
        validation_loss = _mean_loss(partial(validate, flow), judged, validation_key)
    elif validation is not None:
        validation_loss = _mean_loss(partial(loss, parameters), validation, validation_key)
    else:
        validation_loss = train_loss
    # The last steps may have ruined what no loss has seen yet.
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)]
    validation_loss = jnp.where(jnp.stack(finite).all(), validation_loss, jnp.nan)
    better = validation_loss < state.best_loss
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), parameters, state.best)
    best_loss = jnp.where(better, validation_loss, state.best_loss)
    return State(parameters, best, moments, best_loss), Losses(train_loss, validation_loss)


def _batches(data: Batch | Supervised, size: int, order: Array) -> Batch | Supervised:
    count = order.size // size
    order = order[: count * size]
    return jax.tree.map(lambda leaf: leaf[order].reshape(count, size, *leaf.shape[1:]), data)


def _mean_loss(loss, data: Batch | Supervised, key, size: int = 1000) -> Scalar:
    """Mean loss over the points, in equal blocks; fewer points than blocks are left over."""
    points = data.x.shape[0]
    count = max(points // size, 1)
    blocks = _batches(data, points // count, jnp.arange(points))
    return jax.lax.map(lambda block: loss(block, key), blocks).mean()
