"""Train a flow: run the phases of a recipe one after the other, keeping the best of each.

A recipe is a list of groups: single phases, phases that alternate, or phases of which the data
decide one. A group is trained turn by turn, a turn being one phase in one round: epoch after epoch,
each judged by its validation loss.
Where training stands is in a ``Position``, which is what a checkpoint keeps.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows import signals
from mflows.charts import Unavailable
from mflows.conditions import OutsideTraining
from mflows.data import Data
from mflows.flow import QUANTILES, Flow
from mflows.keys import checked, integer_seed
from mflows.models import BUILDERS, rebuild
from mflows.saving import LoadError
from mflows.training.checkpoint import Position, read_checkpoint, write_checkpoint
from mflows.training.devices import Devices, leads, sharing
from mflows.training.epoch import Fixed, Loop, State, initial_state, players, steps_of
from mflows.training.examine import examined
from mflows.training.monitor import Monitor
from mflows.training.pace import Pace
from mflows.training.phases import Alternate, Batch, Either, Group, Phase, phases_of
from mflows.training.rows import Rows, batch_of, check_fits, rows_of
from mflows.training.units import Units
from mflows.verdict import Warn, evidence, some, warnings_of
from mflows.verdict.checks import NOT_SETTLED

_EXPLOSION = 1e6
"""A loss this many times its first size, plus one, counts as diverged."""
HALVINGS = 4
"""So often the learning rate of a turn is halved before a loss that diverges ends the training."""
SAVE_SECONDS = 300.0
"""Within an epoch a checkpoint is written no more often than this."""


class TrainingDiverged(RuntimeError):
    """A loss became infinite, NaN or exploded, at a sixteenth of the learning rate too.

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
class Fitted:
    """A trained flow and how it got there.

    Attributes:
        flow: The flow with the parameters of the best epoch of every phase.
        history: One row per epoch: phase, epoch, train, validation, seconds.
        notes: What was decided about the start of the phases, and why.
        rows: Number of points it was trained on; with weights, of as many that count alike.
        seen: Some of them, and some held out, by which the verdict judges.
    """

    flow: Flow
    history: list[dict]
    notes: list[str] = field(default_factory=list)
    rows: int = 0
    seen: tuple[Data, Data | None] | None = field(default=None, repr=False)

    @cached_property
    def verdict(self) -> list[Warn]:
        """What looks wrong in the fit, by ``mflows.verdict``; empty if nothing does.

        The flow is evaluated at some rows when it is first asked for.
        """
        if self.seen is None:
            return []
        known = {"history": self.history, "notes": self.notes, "rows": self.rows}
        return warnings_of(evidence(self.flow, *self.seen, **known))


def fit(
    key: PRNGKeyArray,
    flow: Flow,
    data: Data | np.ndarray,
    phases: Sequence[Group],
    *,
    validation: Data | np.ndarray | float = 0.1,
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    devices: Sequence[jax.Device] | None = None,
    each_epoch: Callable[[dict], None] | None = None,
) -> Fitted:
    """Train ``flow`` on ``data`` by the phases of a recipe.

    Every phase ends with the parameters of its best epoch, by validation loss. An epoch whose loss
    diverges is taken again from there at half the learning rate, up to four times in a phase; the
    notes tell. The same key, flow and data give the same result.

    Args:
        key: Random key for the split, the order of points and whatever the objectives draw.
        flow: The flow to start from.
        data: Training data, as ``Data``, in memory or streamed from a file, or as an array of shape
            (N, *shape). Those with weights are drawn by these, anew for every epoch.
        phases: A recipe, for instance ``mflows.recipes.manifold_then_density()``.
        validation: Held-out data, or the fraction of ``data`` to hold out; with 0 the training
            loss stands in for the validation loss.
        folder: Where to write ``history.jsonl``, TensorBoard events and, after each epoch, a
            checkpoint. ``None`` writes nothing.
        resume: Go on from the checkpoint in ``folder``, if there is one, to the same numbers as
            an uninterrupted run with the same arguments.
        progress: Show live losses and the time left.
        devices: Devices that share the points of every batch, such as ``jax.devices()``, also
            those of other processes (``jax.distributed``), which then make the same call; the
            first one writes the files. The numbers are those of one device, up to rounding.
            ``None`` is JAX's default device.
        each_epoch: Called with every row of the history once it is recorded; an error that it
            raises ends the training, and ``resume`` can go on from the epoch before.

    Raises:
        ValueError: If data and flow do not fit together.
        LoadError: If the checkpoint is damaged or belongs to another flow or recipe.
        TrainingDiverged: If a loss becomes NaN, infinite or explodes at smaller rates too.
    """
    key, phases = checked(key), _checked(phases)
    data, held_out = _split(key, data, validation)
    check_fits(flow, data)
    data, held_out = examined(flow, data, held_out)
    folder = None if folder is None else Path(folder)
    at = None if folder is None or not resume else read_checkpoint(folder)
    units = _units(flow, data, phases) if at is None or at.centred else Units.none(flow)
    rows = rows_of(flow, data, integer_seed(key), units)
    judged = None if held_out is None else batch_of(flow, held_out.unweighted(0), units)
    groups = [_as_group(group, rows.points) for group in phases]
    kinds = [kind for group in groups for kind in _kinds(group)]
    shared = sharing(devices, [phase.batch_size for group in groups for phase in group.phases])
    own = units.taken_off(flow)
    at = Position(own) if at is None else at.filled(partial(_skeleton, own, kinds))
    if not leads(devices):
        folder, progress = None, False
    with Monitor(folder, progress, at.history, each_epoch) as monitor:
        training = _Training(key, rows, judged, shared, monitor, folder)
        following = 0
        for group in groups:
            following += len(_kinds(group))
            if at.group < following:
                if isinstance(group, Either) and not at.begun:
                    training.choose(group, at)
                try:
                    training.run(kinds[at.group], at)
                except TrainingDiverged as error:
                    error.flow = units.put_back(error.flow)
                    raise
                at.group = following
    seen = some(data), None if held_out is None else some(held_out)
    flow = _measured(units.put_back(at.flow), seen[0] if seen[1] is None else seen[1])
    return Fitted(flow, at.history, at.notes, round(data.effective_size), seen)


def _measured(flow: Flow, data: Data) -> Flow:
    """A conditional flow that knows how far off its manifold points are that it has not seen."""
    if flow.cond_shape is None or flow.is_ambient:
        return flow
    with warnings.catch_warnings(), suppress(Unavailable):  # where there is no encoder
        warnings.simplefilter("ignore", OutsideTraining)  # of what is held out
        found = np.asarray(flow.distance(data.x, data.condition))
        return flow.with_distances(np.quantile(found, np.linspace(0, 1, QUANTILES)))
    return flow


@dataclass(frozen=True)
class _Training:
    """What all phases of a training share."""

    key: PRNGKeyArray
    rows: Rows
    held_out: Batch | None
    devices: Devices
    monitor: Monitor
    folder: Path | None

    def choose(self, group: Either, at: Position) -> None:
        """Let the data decide one of the phases."""
        each = range(at.group, at.group + len(group.phases))
        keys = [jr.fold_in(jr.fold_in(self.key, index), 0) for index in each]
        with self.monitor.starting(group.phases[0].name) as decided:
            chosen, at.flow = group.choose(keys, at.flow, self.rows.sample)
        at.notes += decided
        at.group = each[chosen]

    def run(self, group: Alternate, at: Position) -> None:
        """Take the group's phases in turn, for all rounds."""
        key, count = jr.fold_in(self.key, at.group), len(group.phases)
        for turn in range(at.turn, group.rounds * count):
            at.turn, phase = turn, group.phases[turn % count]
            if turn < count and not at.begun:
                if phase.start is not None:
                    with self.monitor.starting(phase.name) as decided:
                        at.flow = phase.start(jr.fold_in(key, turn), at.flow, self.rows.sample)
                    at.notes += decided
                at.states[turn:] = _states(key, at.flow, group)[turn:]
            at.flow = self.devices.agreed(at.flow)
            self._take(phase, group.rounds, jr.fold_in(key, count + turn), at)
        at.turn, at.states = 0, []

    def _take(self, phase: Phase, rounds: int, key: PRNGKeyArray, at: Position) -> None:
        """Take one turn; the flow is then that of the turn's best epoch."""
        parameters, frozen = players(key, at.flow, phase)
        if not at.begun:
            parameters = parameters._replace(opponent=at.state.parameters.opponent)
            nothing = jnp.full((), jnp.inf, dtype=float)
            at.state = at.state._replace(parameters=parameters, best=parameters, best_loss=nothing)
        rows, held_out = self.rows, self.held_out
        if (prepare := getattr(phase.objective, "prepare", None)) is not None:
            prepare = partial(prepare, at.flow)
            rows = rows.prepared(prepare)
            held_out = None if held_out is None else prepare(held_out)
        at.state, frozen, held_out = self.devices.replicated((at.state, frozen, held_out))
        rows = rows.placed(self.devices.replicated)
        fixed = Fixed(phase, frozen, rounds * steps_of(phase, rows), self.devices)
        loop = Loop(fixed, rows, held_out, key).slower(at.halvings)
        self._run_epochs(phase, loop, at)
        at.state = self.devices.local(at.state)
        at.flow = self.devices.local(loop.flow(at.state.best))
        at.epochs, at.settled, at.halvings = 0, None, 0

    def _run_epochs(self, phase: Phase, loop: Loop, at: Position) -> None:
        """Train to the last epoch of a turn, or as long as the phase has patience."""
        blocks, before = loop.rows.blocks, at.round * phase.epochs
        bar = self.monitor.begin(phase.name, phase.epochs, at.epochs)
        saved = time.monotonic()
        pace = Pace(phase, steps_of(replace(phase, epochs=1), loop.rows))
        loop = pace.kept(loop, at.settled)
        while at.epochs < pace.epochs(at.settled):
            started, begun = time.perf_counter(), at.state
            for state, losses in loop.blocks(at.state, at.epochs, at.losses):
                at.state, at.losses, done = state, losses, len(losses)
                signals.check()
                self.monitor.part(bar, at.epochs + done / blocks, sum(losses) / done)
                overdue = time.monotonic() - saved > SAVE_SECONDS
                if done < blocks and overdue and math.isfinite(losses[-1]):
                    self._save(at)
                    saved = time.monotonic()
            state, losses = loop.judge(at.state, at.epochs, at.losses)
            row = {
                "phase": phase.name,
                "epoch": before + at.epochs + 1,
                "train": float(losses.train),
                "validation": float(losses.validation),
                "seconds": time.perf_counter() - started,
            }
            if (bad := _diverged(row, at.history)) is not None:
                if at.halvings == HALVINGS:
                    good = self.devices.local(loop.flow(at.state.best))
                    raise TrainingDiverged(phase, row["epoch"], bad, good, at.history)
                at.halvings, loop = at.halvings + 1, loop.slower(1)
                at.state, at.losses = begun._replace(parameters=begun.best), ()
                at.notes.append(
                    f"Epoch {row['epoch']} of {phase.name} diverged, its loss became {bad:g}: it "
                    "was taken again from the best one, with half the learning rate from there on."
                )
                continue
            at.state, at.losses = state, ()
            at.history.append(row)
            self.monitor.epoch(bar, at.epochs + 1, row)
            losses = [row["validation"] for row in at.history[-at.epochs - 1 :]]
            at.epochs = at.epochs + 1 if pace.goes_on(losses) else phase.epochs
            settled, runs_out = pace.settled(losses), pace.runs_out(losses)
            if at.settled is None and (settled or runs_out):
                if not settled:
                    note = (
                        f"After {len(losses)} epochs of {phase.name} its {NOT_SETTLED}: the rest "
                    )
                    at.notes.append(f"{note}of its {phase.epochs} went to the decay of the rate.")
                at.settled = len(losses)
                loop = pace.kept(loop, at.settled)
            self._save(at)
            saved = time.monotonic()

    def _save(self, at: Position) -> None:
        if self.folder is not None:
            write_checkpoint(self.folder, at)


def _diverged(row: dict, history: list[dict]) -> float | None:
    """The loss that is NaN, infinite or exploded, if one is."""
    first = next((one for one in history if one["phase"] == row["phase"]), row)
    bound = _EXPLOSION * (1 + abs(first["train"]))
    losses = (row["train"], row["validation"])
    return next((loss for loss in losses if not abs(loss) < bound or not math.isfinite(loss)), None)


def _checked(phases: Any) -> Sequence[Group]:
    """The entries of a recipe; ``ValueError`` for anything else."""
    if isinstance(phases, Phase | Alternate | Either):
        return [phases]
    if not isinstance(phases, Sequence) or isinstance(phases, str) or not phases:
        got = repr(phases) if not callable(phases) else f"the function {phases.__name__}"
        raise ValueError(
            "Expected a recipe, a list of phases such as mflows.recipes.manifold_then_density(); "
            f"got {got:.80}."
        )
    for group in phases:
        if not isinstance(group, Phase | Alternate | Either):
            raise ValueError(f"Expected phases in a recipe; got {group!r:.80}.")
    return phases


def _units(flow: Flow, data: Data, phases: Sequence[Group]) -> Units:
    """The coordinates of training; centred where all objectives allow it."""
    objectives = (phase.objective for group in phases for phase in phases_of(group))
    centred = all(getattr(objective, "centred", False) for objective in objectives)
    return Units.of(flow, data, centred=centred)


def _split(key, data, validation) -> tuple[Data, Data | None]:
    data = data if isinstance(data, Data) else Data(np.asarray(data))
    if data.weight is not None and not data.weight.all():
        data = data[data.weight > 0]
    if isinstance(validation, Data):
        return data, validation
    if not isinstance(validation, float | int):
        return data, Data(np.asarray(validation))
    if len(data) < 2:
        raise ValueError(f"Expected at least two rows to learn from; got {len(data)}.")
    if not 0 <= validation < 1:
        raise ValueError(f"Expected a validation fraction in [0, 1); got {validation}.")
    if not round(validation * len(data)):
        return data, None
    return data.split(validation, seed=integer_seed(key))


def _as_group(group: Group, points: int) -> Alternate | Either:
    """A group of phases, with batches no larger than the data."""
    phases = tuple(replace(p, batch_size=min(p.batch_size, points)) for p in phases_of(group))
    return Alternate(phases, 1) if isinstance(group, Phase) else replace(group, phases=phases)


def _kinds(group: Alternate | Either) -> list[Alternate]:
    """What a group may turn out to be: as many as it counts in the recipe."""
    if isinstance(group, Alternate):
        return [group]
    return [Alternate((replace(phase, start=None),), 1) for phase in group.phases]


def _states(key: PRNGKeyArray, flow: Flow, group: Alternate) -> list[State]:
    return [initial_state(players(key, flow, phase)[0], phase) for phase in group.phases]


def _skeleton(
    flow: Flow, kinds: list[Alternate], built: tuple[str, str] | None, index: int
) -> tuple[Flow, list[State]]:
    """Flow and states of the shapes that a checkpoint has."""
    if index >= len(kinds):
        raise LoadError(
            f"Expected a checkpoint of one of the {len(kinds)} phases of this recipe; got one of "
            f"phase {index + 1}: it belongs to another recipe. Remove it to start over."
        )
    if built is not None and built != flow.built:
        if built[0] not in BUILDERS:
            raise LoadError(
                f"Expected a checkpoint of a flow built by {flow.built and flow.built[0]!r}; got "
                f"one built by {built[0]!r}: it belongs to another flow. Remove it to start over."
            )
        flow = rebuild(jr.key(0), built).own()
    return flow, _states(jr.key(0), flow, kinds[index])
