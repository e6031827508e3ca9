"""Train a flow: run the phases of a recipe one after the other, keeping the best of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows.data import Data, Stream
from mflows.flow import Flow
from mflows.keys import integer_seed
from mflows.models import rebuild
from mflows.saving import LoadError
from mflows.training.checkpoint import read_checkpoint
from mflows.training.devices import leads, sharing
from mflows.training.epoch import State, initial_state, players
from mflows.training.monitor import Monitor
from mflows.training.phases import Alternate, Phase
from mflows.training.rows import batch_of, rows_of
from mflows.training.visit import Setting, Visit, run_visit


@dataclass(frozen=True)
class Fitted:
    """A trained flow and how it got there.

    Attributes:
        flow: The flow with the parameters of the best epoch of every phase.
        history: One row per epoch: phase, epoch, train, validation, seconds.
    """

    flow: Flow
    history: list[dict]


def fit(
    key: PRNGKeyArray,
    flow: Flow,
    data: Data | Stream | np.ndarray,
    phases: Sequence[Phase | Alternate],
    *,
    validation: Data | np.ndarray | float = 0.1,
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    each_epoch: Callable[[dict], None] | None = None,
) -> Fitted:
    """Train ``flow`` on ``data`` by the phases of a recipe.

    Every phase ends with the parameters of its best epoch, by validation loss. The same key, flow
    and data give the same result.

    Args:
        key: Random key for the split, the order of points and whatever the objectives draw.
        flow: The flow to start from.
        data: Training data, as ``Data``, as an array of shape (N, *shape), or as a ``Stream`` of a
            file larger than memory.
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
        TrainingDiverged: If a loss becomes NaN, infinite or explodes.
    """
    data, held_out = _split(key, data, validation)
    train = rows_of(flow, data, integer_seed(key))
    held_out = None if held_out is None else batch_of(flow, held_out)
    groups = [_alternating(group, train.points) for group in phases]
    sizes = [phase.batch_size for group in groups for phase in group.phases]
    shared = sharing(devices, sizes)
    folder = None if folder is None else Path(folder)
    found = None
    if resume and folder is not None:
        found = read_checkpoint(folder, lambda built, group: _skeleton(flow, built, groups, group))
    if not leads(devices):
        folder, progress = None, False
    history = found.history if found else []
    with Monitor(folder, progress, history, each_epoch) as monitor:
        setting = Setting(train, held_out, shared, monitor, folder)
        for index, group in enumerate(groups):
            if found and index < found.group:
                continue
            group_key = jr.fold_in(key, index)
            here = found if found and index == found.group else None
            states: list[State] = []
            if here:
                flow, states = here.arrays
            for visit in range(here.visit if here else 0, group.rounds * len(group.phases)):
                at = Visit(index, visit, group, jr.fold_in(group_key, len(group.phases) + visit))
                if visit < len(group.phases) and not here:
                    if at.phase.start is not None:
                        with monitor.starting(at.phase.name):
                            flow = at.phase.start(jr.fold_in(group_key, visit), flow, train.sample)
                    states[visit:] = _states(group_key, flow, group)[visit:]
                flow, here = run_visit(at, flow, states, here, setting), None
    return Fitted(flow, monitor.history)


def _split(key, data, validation) -> tuple[Data | Stream, Data | None]:
    data = data if isinstance(data, Data | Stream) else Data(np.asarray(data))
    if isinstance(validation, Data):
        return data, validation
    if not isinstance(validation, float | int):
        return data, Data(np.asarray(validation))
    if not 0 <= validation < 1:
        raise ValueError(f"Expected a validation fraction in [0, 1); got {validation}.")
    if not round(validation * len(data)):
        return data, None
    return data.split(validation, seed=integer_seed(key))


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
