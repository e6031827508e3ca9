"""A visit: one phase, in one round of a group of alternating phases, epoch after epoch."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from mflows.flow import Flow
from mflows.training.checkpoint import Checkpoint, write_checkpoint
from mflows.training.devices import Devices
from mflows.training.epoch import Players, State, players, run_epoch
from mflows.training.monitor import Monitor
from mflows.training.phases import Alternate, Batch, Phase
from mflows.training.rows import Block, Rows

_EXPLOSION = 1e6
"""A loss this many times its first size, plus one, counts as diverged."""
SAVE_SECONDS = 300.0
"""Within an epoch a checkpoint is written no more often than this."""


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


@dataclass(frozen=True)
class Setting:
    """What all visits of a training share.

    Args:
        rows: The training data.
        held_out: What the epochs are judged by, ``None`` for the training loss.
        devices: What shares the points of every batch.
        monitor: Keeps and shows the history.
        folder: Where checkpoints are written, ``None`` for nowhere.
    """

    rows: Rows
    held_out: Batch | None
    devices: Devices
    monitor: Monitor
    folder: Path | None


@dataclass(frozen=True)
class Visit:
    """One phase of one round of a group of alternating phases."""

    group_index: int
    index: int
    group: Alternate
    key: PRNGKeyArray

    @property
    def number(self) -> int:
        """Which phase of the group."""
        return self.index % len(self.group.phases)

    @property
    def phase(self) -> Phase:
        """The phase."""
        return self.group.phases[self.number]

    @property
    def epochs_before(self) -> int:
        """Epochs of this phase in earlier rounds."""
        return self.index // len(self.group.phases) * self.phase.epochs


def run_visit(
    visit: Visit, flow: Flow, states: list[State], found: Checkpoint | None, setting: Setting
) -> Flow:
    """Run the epochs of one visit; returns the best flow.

    Args:
        visit: The visit.
        flow: The flow at its start.
        states: The states of the group's phases; that of this phase is replaced.
        found: Where this visit was interrupted.
        setting: What all visits share.

    Raises:
        TrainingDiverged: If a loss becomes NaN, infinite or explodes.
    """
    phase, number, devices = visit.phase, visit.number, setting.devices
    flow = devices.agreed(flow)
    if phase.when is not None and not devices.agreed(phase.when(flow, setting.rows.sample)):
        return flow
    prepare = _prepare(phase, flow)
    held_out: Block | None = setting.held_out
    if prepare is not None and held_out is not None:
        held_out = prepare(held_out)
    parameters, frozen = players(visit.key, flow, phase)
    if found is None:
        parameters = parameters._replace(opponent=states[number].parameters.opponent)
        states[number] = states[number]._replace(
            parameters=parameters, best=parameters, best_loss=jnp.full((), jnp.inf, dtype=float)
        )
    states[number], frozen, held_out = devices.replicated((states[number], frozen, held_out))
    with nullcontext(setting.rows) if prepare is None else setting.rows.prepared(prepare) as rows:
        rows = rows.placed(devices.replicated)
        _run_epochs(visit, flow, states, frozen, rows, held_out, found, setting)
    states[number] = devices.local(states[number])
    return eqx.combine(states[number].best, devices.local(frozen)).flow


def _run_epochs(
    visit: Visit,
    flow: Flow,
    states: list[State],
    frozen: Players,
    rows: Rows,
    held_out: Block | None,
    found: Checkpoint | None,
    setting: Setting,
) -> None:
    phase, number, monitor = visit.phase, visit.number, setting.monitor
    steps = rows.blocks * (rows.points // phase.batch_size)
    total_steps = visit.group.rounds * phase.epochs * steps
    first, done = (found.epochs, found.losses) if found else (0, ())
    since_best = _since_best(monitor.history[-first:] if first else [])
    task = monitor.begin(phase.name, phase.epochs, first)
    saved = time.monotonic()

    def save(epochs: int, losses: Sequence[float] = ()) -> None:
        nonlocal saved
        if setting.folder is not None:
            at = Checkpoint(
                visit.group_index, visit.index, epochs, (flow, states), monitor.history, losses
            )
            write_checkpoint(setting.folder, at)
        saved = time.monotonic()

    def after_block(epoch: int, state: State, losses: list[float]) -> None:
        if len(losses) < rows.blocks:
            states[number] = state
            monitor.part(task, epoch + len(losses) / rows.blocks, sum(losses) / len(losses))
            if time.monotonic() - saved > SAVE_SECONDS:
                save(epoch, losses)

    for epoch in range(first, phase.epochs):
        started = time.perf_counter()
        state, losses = run_epoch(
            states[number],
            frozen,
            phase,
            total_steps,
            rows,
            held_out,
            visit.key,
            epoch,
            devices=setting.devices,
            done=done,
            after_block=partial(after_block, epoch),
        )
        done = ()
        loss, validation_loss = float(losses.train), float(losses.validation)
        bound = _EXPLOSION * (1 + abs(monitor.first_loss(phase.name, loss)))
        for value in (loss, validation_loss):
            if not (math.isfinite(value) and abs(value) < bound):
                good = eqx.combine(*setting.devices.local((states[number].best, frozen))).flow
                number_of_epoch = visit.epochs_before + epoch + 1
                raise TrainingDiverged(phase, number_of_epoch, value, good, monitor.history)
        improved = float(state.best_loss) < float(states[number].best_loss)
        states[number] = state
        row = {
            "phase": phase.name,
            "epoch": visit.epochs_before + epoch + 1,
            "train": loss,
            "validation": validation_loss,
            "seconds": time.perf_counter() - started,
        }
        monitor.epoch(task, epoch + 1, row)
        since_best = 0 if improved else since_best + 1
        stop = phase.patience is not None and since_best >= phase.patience
        save(phase.epochs if stop else epoch + 1)
        if stop:
            break


def _since_best(rows: list[dict]) -> int:
    """How many epochs of an interrupted visit followed its best one."""
    losses = [row["validation"] for row in rows]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def _prepare(phase: Phase, flow: Flow) -> Callable[[Block], Block] | None:
    """What the objective does to all data before the phase, if it does anything."""
    prepare = getattr(phase.objective, "prepare", None)
    return None if prepare is None else partial(prepare, flow)
