"""The compiled inner loop: a block of rows is one call, its steps one scan on the device.

Everything a phase carries from epoch to epoch is a value in ``State``; the best parameters so far
are kept as values too, so restoring them cannot alias the live ones. What its steps leave as it is
stands in ``Fixed``. A ``Loop`` takes both over the data:

    loop, state = begin(key, flow, phase, rows)
    for epoch in range(phase.epochs):
        state, losses = loop.epoch(state, epoch)
    flow = loop.flow(state.best)
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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

_POINTS_JUDGED_AT_ONCE = 1000


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
    """A learning rate that falls to zero; traced, so that another one compiles nothing anew.

    It stays at its ``peak`` until ``start`` and falls for as many ``steps``.
    """

    peak: Scalar
    steps: Scalar
    start: Scalar

    def __call__(self, count: ArrayLike) -> Array:
        """The rate after so many steps."""
        fallen = jnp.maximum(count - self.start, 0) / self.steps
        return self.peak * optax.cosine_decay_schedule(1.0, 1)(fallen)


class Losses(NamedTuple):
    """Mean training loss over the epoch's steps, and validation loss after it."""

    train: Array
    validation: Array


class Fixed(eqx.Module):
    """What the steps of a phase leave as it is.

    Args:
        phase: The phase.
        frozen: What does not train.
        steps: Steps over which the learning rate decays.
        devices: What shares the points of every batch; ``frozen`` is on all of them.
    """

    frozen: Players
    rate: CosineDecay
    phase: Phase = eqx.field(static=True)
    devices: Devices = eqx.field(static=True)

    def __init__(self, phase: Phase, frozen: Players, steps: int, devices: Devices | None = None):
        self.frozen = frozen
        self.rate = decay(phase, steps)
        self.phase = _as_compiled(phase)
        self.devices = devices or Devices()

    @property
    def validates(self) -> bool:
        """Whether the objective judges epochs by another number than its loss."""
        return hasattr(self.phase.objective, "validate")

    def loss(self, parameters: Players, batch: Block, key: PRNGKeyArray) -> Scalar:
        """The loss as a function of what trains."""
        flow, opponent = eqx.combine(parameters, self.frozen)
        against = () if opponent is None else (opponent,)
        return self.phase.objective(flow, batch, key, *against)

    def validation_loss(self, parameters: Players, batch: Block, key: PRNGKeyArray) -> Scalar:
        """What epochs are judged by."""
        if not self.validates:
            return self.loss(parameters, batch, key)
        flow = eqx.combine(parameters.flow, self.frozen.flow)
        return self.phase.objective.validate(flow, batch, key)  # pyrefly: ignore[missing-attribute]


@dataclass(frozen=True)
class Loop:
    """The epochs of one phase; they count from 0.

    Args:
        fixed: What does not change.
        rows: The training data, on all devices, as ``held_out`` and every state.
        held_out: What epochs are judged by, ``None`` for the training data.
        key: Key of the order of points and of what the objective draws.
    """

    fixed: Fixed
    rows: Rows
    held_out: Block | None
    key: PRNGKeyArray

    def epoch(self, state: State, epoch: int) -> tuple[State, Losses]:
        """One pass over the training data, then the validation loss."""
        [(state, losses)] = deque(self.blocks(state, epoch), maxlen=1)  # after the last one
        return self.judge(state, epoch, losses)

    def blocks(
        self, state: State, epoch: int, done: Sequence[float] = ()
    ) -> Iterator[tuple[State, list[float]]]:
        """Train on the blocks of an epoch; after each, the state and the losses of all so far.

        Args:
            state: What the phase carries.
            epoch: Number of the epoch.
            done: Losses of the blocks on which ``state`` has been trained already.
        """
        keys = self._keys(epoch)
        losses = list(done)
        left = zip(self.rows.epoch(keys[0], len(done)), keys[len(done) :], strict=True)
        for block, key in left:
            rng, points = generator(key), block.x.shape[0]
            order = jnp.asarray(self.rows.order(rng, points))
            step_keys = drawn_keys(rng, key, points // self.fixed.phase.batch_size)
            state, loss = _run_block(state, self.fixed, block, order, step_keys)
            losses.append(float(loss))  # waits, so that no more than two blocks are in memory
            yield state, losses

    def judge(self, state: State, epoch: int, losses: Sequence[float]) -> tuple[State, Losses]:
        """The losses of an epoch, given those of its blocks; the best parameters are kept."""
        train_loss = jnp.mean(jnp.asarray(losses, dtype=float))
        stands_in = self.held_out is None and self.fixed.validates
        judged = self.rows.sample if stands_in else self.held_out
        return _judge(state, self.fixed, judged, train_loss, self._keys(epoch)[0])

    def falling(self, start: int, steps: int) -> "Loop":
        """The same epochs with a rate that falls for so many steps from ``start`` on."""
        rate = decay(
            replace(self.fixed.phase, learning_rate=float(self.fixed.rate.peak)), steps, start
        )
        return replace(self, fixed=eqx.tree_at(lambda fixed: fixed.rate, self.fixed, rate))

    def slower(self, halvings: int) -> "Loop":
        """The same epochs with a rate that is halved so often."""
        peak = self.fixed.rate.peak / 2**halvings
        return replace(self, fixed=eqx.tree_at(lambda fixed: fixed.rate.peak, self.fixed, peak))

    def flow(self, parameters: Players) -> Flow:
        """The flow with these parameters, live or best."""
        return eqx.combine(parameters, self.fixed.frozen).flow

    def _keys(self, epoch: int) -> list[PRNGKeyArray]:
        blocks = self.rows.blocks
        return [jr.fold_in(self.key, epoch * blocks + block) for block in range(blocks)]


def begin(
    key: PRNGKeyArray, flow: Flow, phase: Phase, rows: Rows, steps: int | None = None
) -> tuple[Loop, State]:
    """A phase by itself, on one device and without held-out points, before its first step.

    Args:
        key: Key of the phase.
        flow: The flow to start from.
        phase: The phase.
        rows: The training data, as the objective prepared them.
        steps: Steps over which the learning rate decays; those of all epochs by default.
    """
    parameters, frozen = players(key, flow, phase)
    fixed = Fixed(phase, frozen, steps_of(phase, rows) if steps is None else steps)
    return Loop(fixed, rows, None, key), initial_state(parameters, phase)


def steps_of(phase: Phase, rows: Rows) -> int:
    """Steps of all epochs of a phase."""
    return phase.epochs * rows.blocks * (rows.points // phase.batch_size)


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


def decay(phase: Phase, steps: int, start: int = 0) -> CosineDecay:
    """The phase's learning rate, falling for so many steps from ``start`` on."""
    return CosineDecay(
        *(jnp.asarray(value, dtype=float) for value in (phase.learning_rate, steps, start))
    )


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


def _as_compiled(phase: Phase) -> Phase:
    """The phase less what its compiled steps do not depend on."""
    return replace(
        phase, epochs=1, name="", learning_rate=1.0, patience=None, tolerance=0.0, start=None
    )


@eqx.filter_jit
def _run_block(
    state: State, fixed: Fixed, block: Block, order: Array, keys: PRNGKeyArray
) -> tuple[State, Scalar]:
    """Steps through the batches of a block, in the given order; their mean loss."""
    devices = fixed.devices
    update = optimizer(fixed.phase, fixed.rate).update

    def step(carry, inputs):
        parameters, moments = carry
        batch, key = inputs
        value, gradient = jax.value_and_grad(fixed.loss)(parameters, devices.spread(batch), key)
        gradient = gradient._replace(opponent=jax.tree.map(jnp.negative, gradient.opponent))
        updates, moments = update(gradient, moments, parameters)
        return (eqx.apply_updates(parameters, updates), moments), value

    batches = _batches(block, fixed.phase.batch_size, order)
    (parameters, moments), values = jax.lax.scan(
        step, (state.parameters, state.optimizer), (batches, keys)
    )
    state = state._replace(parameters=parameters, optimizer=moments)
    return devices.gathered((state, values.mean()))


@eqx.filter_jit
def _judge(
    state: State, fixed: Fixed, judged: Block | None, train_loss: Scalar, key: PRNGKeyArray
) -> tuple[State, Losses]:
    """The validation loss, and the parameters kept if they are the best so far."""
    parameters, devices = state.parameters, fixed.devices
    validation_key, _ = jr.split(key)
    if judged is None:
        validation_loss = train_loss
    else:
        validation_loss = _mean_loss(
            lambda batch: fixed.validation_loss(parameters, devices.spread(batch), validation_key),
            judged,
        )
    # The last steps may have ruined what no loss has seen yet.
    finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)]
    validation_loss = jnp.where(jnp.stack(finite).all(), validation_loss, jnp.nan)
    better = validation_loss < state.best_loss
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), parameters, state.best)
    best_loss = jnp.where(better, validation_loss, state.best_loss)
    state = state._replace(best=best, best_loss=best_loss)
    return devices.gathered((state, Losses(train_loss, validation_loss)))


def _batches(data: Block, size: int, order: Array) -> Block:
    count = order.size // size
    order = order[: count * size]
    return jax.tree.map(lambda leaf: leaf[order].reshape(count, size, *leaf.shape[1:]), data)


def _mean_loss(loss: Callable[[Block], Scalar], data: Block) -> Scalar:
    """Mean loss over the points, in equal blocks; fewer points than blocks are left over."""
    points = data.x.shape[0]
    count = max(points // _POINTS_JUDGED_AT_ONCE, 1)
    blocks = _batches(data, points // count, jnp.arange(points))
    return jax.lax.map(loss, blocks).mean()
