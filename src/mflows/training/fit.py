"""Train a flow: run the phases of a recipe one after the other, keeping the best of each."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows.data import Data
from mflows.flow import Flow
from mflows.models import rebuild
from mflows.saving import LoadError
from mflows.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from mflows.training.loop import State, initial_state, players, run_epoch
from mflows.training.monitor import Monitor
from mflows.training.phase import Alternate, Batch, Phase, Supervised

_EXPLOSION = 1e6
"""A loss this many times its first size, plus one, counts as diverged."""


@dataclass(frozen=True)
class Fitted:
    """A trained flow and how it got there.

    Attributes:
        flow: The flow with the parameters of the best epoch of every phase.
        history: One row per epoch: phase, epoch, train, validation, seconds.
    """

    flow: Flow
    history: list[dict]


class TrainingDiverged(RuntimeError):
    """A loss became infinite, NaN or exploded.

    Attributes:
        flow: The flow with the last good parameters.
        history: The epochs before.
    """

    def __init__(self, phase: Phase, epoch: int, loss: float, flow: Flow, history: list[dict]):
        super().__init__(
            f"Training diverged in phase '{phase.name}', epoch {epoch}: the loss became {loss:g}. "
            "The last good parameters are kept. Try a learning rate some times "
            "smaller, or look for extreme values in the data."
        )
        self.flow = flow
        self.history = history

    def __reduce__(self):
        """For another process: the message alone, because flows hold closures."""
        return _from_message, (str(self),)


def _from_message(message: str) -> TrainingDiverged:
    return TrainingDiverged.__new__(TrainingDiverged, message)


def fit(
    key: PRNGKeyArray,
    flow: Flow,
    data: Data | np.ndarray,
    phases: Sequence[Phase | Alternate],
    *,
    validation: Data | np.ndarray | float = 0.1,
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    each_epoch: Callable[[dict], None] | None = None,
) -> Fitted:
    """Train ``flow`` on ``data`` by the phases of a recipe.

    Every phase ends with the parameters of its best epoch, by validation loss. The same key, flow
    and data give the same result.

    Args:
        key: Random key for the split, the order of points and whatever the objectives draw.
        flow: The flow to start from.
        data: Training data, as ``Data`` or as an array of shape (N, *shape).
        phases: A recipe, for instance ``mflows.recipes.manifold_then_density()``.
        validation: Held-out data, or the fraction of ``data`` to hold out; with 0 the training
            loss stands in for the validation loss.
        folder: Where to write ``history.jsonl``, TensorBoard events and, after each epoch, a
            checkpoint. ``None`` writes nothing.
        resume: Go on from the checkpoint in ``folder``, if there is one, to the same numbers as
            an uninterrupted run with the same arguments.
        progress: Show live losses and the time left.
        each_epoch: Called with every row of the history once it is recorded; an error that it
            raises ends the training, and ``resume`` can go on from the epoch before.

    Raises:
        ValueError: If data and flow do not fit together.
        LoadError: If the checkpoint is damaged or belongs to another flow or recipe.
        TrainingDiverged: If a loss becomes NaN, infinite or explodes.
    """
    data, held_out = _split(key, data, validation)
    train = _batch(flow, data)
    held_out = None if held_out is None else _batch(flow, held_out)
    groups = [_alternating(group, train.x.shape[0]) for group in phases]
    folder = None if folder is None else Path(folder)
    found = None
    if resume and folder is not None:
        found = read_checkpoint(folder, lambda built, group: _skeleton(flow, built, groups, group))
    with Monitor(folder, progress, found.history if found else [], each_epoch) as monitor:
        for index, group in enumerate(groups):
            if found and index < found.group:
                continue
            group_key = jr.fold_in(key, index)
            if found and index == found.group:
                (flow, states), first, done = found.arrays, found.visit, found.epochs
            else:
                for number, phase in enumerate(group.phases):
                    if phase.start is not None:
                        with monitor.starting(phase.name):
                            flow = phase.start(jr.fold_in(group_key, number), flow, train)
                states, first, done = _states(group_key, flow, group), 0, 0
            for visit in range(first, group.rounds * len(group.phases)):
                at = _Visit(index, visit, group, jr.fold_in(group_key, len(group.phases) + visit))
                flow = _run(at, flow, states, train, held_out, done, monitor, folder)
                done = 0
    return Fitted(flow, monitor.history)


@dataclass(frozen=True)
class _Visit:
    """One phase of one round of a group of alternating phases."""

    group_index: int
    index: int
    group: Alternate
    key: PRNGKeyArray

    @property
    def number(self) -> int:
        return self.index % len(self.group.phases)

    @property
    def phase(self) -> Phase:
        return self.group.phases[self.number]


def _run(
    visit: _Visit,
    flow: Flow,
    states: list[State],
    train: Batch,
    held_out: Batch | None,
    done: int,
    monitor: Monitor,
    folder: Path | None,
) -> Flow:
    """Run the epochs of one visit from epoch ``done`` on; returns the best flow."""
    phase, number = visit.phase, visit.number
    if phase.when is not None and not phase.when(flow, train):
        return flow
    prepared = _prepared(phase, flow, train)
    prepared_held_out = None if held_out is None else _prepared(phase, flow, held_out)
    parameters, frozen = players(visit.key, flow, phase)
    if done == 0:
        parameters = parameters._replace(opponent=states[number].parameters.opponent)
        states[number] = states[number]._replace(
            parameters=parameters, best=parameters, best_loss=jnp.full((), jnp.inf, dtype=float)
        )
    before = visit.index // len(visit.group.phases) * phase.epochs
    total_steps = visit.group.rounds * phase.epochs * (prepared.x.shape[0] // phase.batch_size)
    task = monitor.begin(phase.name, phase.epochs, done)
    since_best = _since_best(monitor.history[-done:] if done else [])
    for epoch in range(done, phase.epochs):
        started = time.perf_counter()
        state, losses = run_epoch(
            states[number],
            frozen,
            phase,
            total_steps,
            prepared,
            prepared_held_out,
            jr.fold_in(visit.key, epoch),
        )
        loss, validation_loss = float(losses.train), float(losses.validation)
        bound = _EXPLOSION * (1 + abs(monitor.first_loss(phase.name, loss)))
        for value in (loss, validation_loss):
            if not (math.isfinite(value) and abs(value) < bound):
                good = eqx.combine(states[number].best, frozen).flow
                raise TrainingDiverged(phase, before + epoch + 1, value, good, monitor.history)
        improved = float(state.best_loss) < float(states[number].best_loss)
        states[number] = state
        monitor.epoch(
            task,
            {
                "phase": phase.name,
                "epoch": before + epoch + 1,
                "train": loss,
                "validation": validation_loss,
                "seconds": time.perf_counter() - started,
            },
        )
        since_best = 0 if improved else since_best + 1
        stop = phase.patience is not None and since_best >= phase.patience
        if folder is not None:
            reached = phase.epochs if stop else epoch + 1
            write_checkpoint(
                folder,
                Checkpoint(
                    visit.group_index, visit.index, reached, (flow, states), monitor.history
                ),
            )
        if stop:
            break
    return eqx.combine(states[number].best, frozen).flow


def _since_best(rows: list[dict]) -> int:
    """How many epochs of an interrupted visit followed its best one."""
    losses = [row["validation"] for row in rows]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def _split(key, data, validation) -> tuple[Data, Data | None]:
    data = data if isinstance(data, Data) else Data(np.asarray(data))
    if isinstance(validation, Data):
        return data, validation
    if not isinstance(validation, float | int):
        return data, Data(np.asarray(validation))
    if not 0 <= validation < 1:
        raise ValueError(f"Expected a validation fraction in [0, 1); got {validation}.")
    if not round(validation * len(data)):
        return data, None
    return data.split(validation, seed=int(jr.randint(key, (), 0, 2**31 - 1)))


def _batch(flow: Flow, data: Data) -> Batch:
    if data.shape != flow.shape or (
        flow.cond_shape is not None and data.cond_shape != flow.cond_shape
    ):
        raise ValueError(
            f"Expected data of shape {flow.shape} with condition {flow.cond_shape} for this flow; "
            f"got {data.shape} with condition {data.cond_shape}."
        )
    given = (None, None) if flow.cond_shape is None else (data.condition, data.joint_score)
    condition, joint_score = (None if a is None else jnp.asarray(a, dtype=float) for a in given)
    return Batch(jnp.asarray(data.x, dtype=float), condition, joint_score)


def _alternating(group: Phase | Alternate, points: int) -> Alternate:
    """A group of phases, with batches no larger than the data."""
    group = group if isinstance(group, Alternate) else Alternate((group,), 1)
    return replace(
        group,
        phases=tuple(replace(p, batch_size=min(p.batch_size, points)) for p in group.phases),
    )


def _states(key: PRNGKeyArray, flow: Flow, group: Alternate) -> list[State]:
    return [initial_state(players(key, flow, phase)[0], phase) for phase in group.phases]


def _skeleton(flow: Flow, built, groups: list[Alternate], index: int):
    if index >= len(groups):
        raise LoadError(
            f"Expected a checkpoint of one of the {len(groups)} phases of this recipe; got one of "
            f"phase {index + 1}: it belongs to another recipe. Remove it to start over."
        )
    flow = flow if built == flow.built else rebuild(jr.key(0), built)
    return flow, _states(jr.key(0), flow, groups[index])


def _prepared(phase: Phase, flow: Flow, batch: Batch) -> Batch | Supervised:
    prepare = getattr(phase.objective, "prepare", None)
    return batch if prepare is None else prepare(flow, batch)
