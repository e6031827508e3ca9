"""The compiled inner loop: a block of rows is one call, its steps one scan on the device.

Everything a phase carries from epoch to epoch is a value in ``State``; the best parameters so far
are kept as values too, so restoring them cannot alias the live ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, ArrayLike, PRNGKeyArray, PyTree, Scalar
from paramax import NonTrainable

from mflows.flow import Flow
from mflows.keys import drawn_keys, generator
from mflows.training.devices import Devices
from mflows.training.phases import Phase
from mflows.training.rows import Block, Rows

ONE_DEVICE = Devices()


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


class CosineDecay(NamedTuple):
    """A learning rate that falls to zero; traced, so that another one compiles nothing anew."""

    peak: Scalar
    steps: Scalar

    def __call__(self, count: ArrayLike) -> Array:
        """The rate after so many steps."""
        return self.peak * optax.cosine_decay_schedule(1.0, 1)(count / self.steps)


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


def decay(phase: Phase, steps: int) -> CosineDecay:
    """The phase's learning rate over so many steps."""
    return CosineDecay(jnp.asarray(phase.learning_rate), jnp.asarray(steps, dtype=float))


def optimizer(phase: Phase, rate: CosineDecay) -> optax.GradientTransformation:
    """AdamW with clipped gradients."""
    return optax.chain(
        optax.clip_by_global_norm(phase.clip),
        optax.adamw(rate, b1=phase.momentum, weight_decay=phase.weight_decay),
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
        _moments(parameters, _as_compiled(phase)),
        jnp.full((), jnp.inf, dtype=float),
    )


@eqx.filter_jit
def _moments(parameters: Players, phase: Phase) -> PyTree:
    return optimizer(phase, decay(phase, 1)).init(parameters)


def run_epoch(
    state: State,
    frozen: Players,
    phase: Phase,
    total_steps: int,
    rows: Rows,
    validation: Block | None,
    key: PRNGKeyArray,
    epoch: int,
    *,
    devices: Devices = ONE_DEVICE,
    done: Sequence[float] = (),
    after_block: Callable[[State, list[float]], None] | None = None,
) -> tuple[State, Losses]:
    """One pass over the training data, then the validation loss.

    Args:
        state: What the phase carries.
        frozen: What does not train.
        phase: The phase.
        total_steps: Steps of all its epochs, over which the learning rate decays.
        rows: The training data.
        validation: What is held out.
        key: Key of the phase.
        epoch: Number of the epoch, from 0.
        devices: What shares the points; ``state``, ``frozen``, ``rows`` and ``validation`` are on
            all of them.
        done: Losses of the epoch's blocks on which ``state`` has been trained already.
        after_block: Told the state and the losses of the blocks so far, after every block.
    """
    keys = [jr.fold_in(key, epoch * rows.blocks + block) for block in range(rows.blocks)]
    rate, phase = decay(phase, total_steps), _as_compiled(phase)
    losses = list(done)
    for block, block_key in zip(rows.epoch(keys[0], len(done)), keys[len(done) :], strict=True):
        rng, points = generator(block_key), block.x.shape[0]
        order = jnp.asarray(rng.permutation(points))
        step_keys = drawn_keys(rng, block_key, points // phase.batch_size)
        state, loss = _run_block(state, frozen, phase, rate, block, order, step_keys, devices)
        losses.append(float(loss))  # waits, so that no more than two blocks are in memory
        if after_block is not None:
            after_block(state, losses)
    train_loss = jnp.mean(jnp.asarray(losses, dtype=float))
    judged = rows.sample if validation is None and _validates(phase) else validation
    return _judge(state, frozen, phase, judged, train_loss, keys[0], devices)


def _as_compiled(phase: Phase) -> Phase:
    """The phase less what its compiled steps do not depend on."""
    return replace(
        phase, epochs=1, name="", learning_rate=1.0, patience=None, start=None, when=None
    )


def _validates(phase: Phase) -> bool:
    return hasattr(phase.objective, "validate")


@eqx.filter_jit
def _run_block(
    state: State,
    frozen: Players,
    phase: Phase,
    rate: CosineDecay,
    block: Block,
    order: Array,
    keys: PRNGKeyArray,
    devices: Devices,
) -> tuple[State, Scalar]:
    """Steps through the batches of a block, in the given order; their mean loss."""
    update = optimizer(phase, rate).update
    loss = _loss(frozen, phase)

    def step(carry, inputs):
        parameters, moments = carry
        batch, key = inputs
        value, gradient = jax.value_and_grad(loss)(parameters, devices.spread(batch), key)
        gradient = gradient._replace(opponent=jax.tree.map(jnp.negative, gradient.opponent))
        updates, moments = update(gradient, moments, parameters)
        return (eqx.apply_updates(parameters, updates), moments), value

    batches = _batches(block, phase.batch_size, order)
    (parameters, moments), values = jax.lax.scan(
        step, (state.parameters, state.optimizer), (batches, keys)
    )
    state = state._replace(parameters=parameters, optimizer=moments)
    return devices.gathered((state, values.mean()))


@eqx.filter_jit
def _judge(
    state: State,
    frozen: Players,
    phase: Phase,
    judged: Block | None,
    train_loss: Scalar,
    key: PRNGKeyArray,
    devices: Devices,
) -> tuple[State, Losses]:
    """The validation loss, and the parameters kept if they are the best so far."""
    parameters = state.parameters
    validation_key, _ = jr.split(key)
    if judged is None:
        validation_loss = train_loss
    elif _validates(phase):
        validate = partial(phase.objective.validate, eqx.combine(parameters.flow, frozen.flow))
        validation_loss = _mean_loss(validate, judged, validation_key, devices)
    else:
        loss = partial(_loss(frozen, phase), parameters)
        validation_loss = _mean_loss(loss, judged, validation_key, devices)
    # The last steps may have ruined what no loss has seen yet.
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)]
    validation_loss = jnp.where(jnp.stack(finite).all(), validation_loss, jnp.nan)
    better = validation_loss < state.best_loss
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), parameters, state.best)
    best_loss = jnp.where(better, validation_loss, state.best_loss)
    state = state._replace(best=best, best_loss=best_loss)
    return devices.gathered((state, Losses(train_loss, validation_loss)))


def _loss(frozen: Players, phase: Phase):
    """The phase's loss as a function of what it trains."""

    def loss(parameters: Players, batch: Block, key: PRNGKeyArray) -> Scalar:
        flow, opponent = eqx.combine(parameters, frozen)
        against = () if opponent is None else (opponent,)
        return phase.objective(flow, batch, key, *against)

    return loss


def _batches(data: Block, size: int, order: Array) -> Block:
    count = order.size // size
    order = order[: count * size]
    return jax.tree.map(lambda leaf: leaf[order].reshape(count, size, *leaf.shape[1:]), data)


def _mean_loss(loss, data: Block, key, devices: Devices = ONE_DEVICE, size: int = 1000) -> Scalar:
    """Mean loss over the points, in equal blocks; fewer points than blocks are left over."""
    points = data.x.shape[0]
    count = max(points // size, 1)
    blocks = _batches(data, points // count, jnp.arange(points))
    return jax.lax.map(lambda block: loss(devices.spread(block), key), blocks).mean()
