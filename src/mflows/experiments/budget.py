"""How many epochs a budget of minutes holds, by the pace of a short training on the same machine.

Compiling is not counted. The pace of a system is measured once, and kept in the experiment's
folder.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from mflows import runs, systems
from mflows.data import Data, load
from mflows.experiments.driver import Job
from mflows.files import write_atomically
from mflows.training import fit

STEPS, EPOCHS = 50, 3
"""Steps of an epoch of the short training, and epochs of each of its phases."""


def epochs_of_run(
    job: Job,
    folder: Path,
    data: Path,
    model: str,
    *,
    latent_dim: int,
    settings: Mapping[str, Any],
    **training: Any,
) -> int | None:
    """Epochs of a run that the job's budget holds, or as many as the run was begun with.

    Arguments are those of ``Job.train``; ``None`` without a budget.
    """
    begun = folder / "config.json"
    if begun.is_file() and not job.overwrite:
        return json.loads(begun.read_text())["epochs"]
    chosen = systems.parse(model)
    config = runs.Config(
        str(data),
        latent_dim if chosen.system.takes_latent_dim else None,
        chosen.model,
        chosen.recipe,
        settings={**settings, **chosen.settings},
        **training,
    )

    def train(few: Data, epochs: int) -> list[dict]:
        flow, phases, key = replace(config, epochs=2 * epochs).resolved(len(few), few).setup(few)
        return fit(key, flow, few, phases, progress=False).history

    name = folder.name.removesuffix(f"-{job.seed}")
    points = load(data, condition=config.condition, weight=config.weight)
    batch_size = config.resolved(len(points)).batch_size
    assert batch_size is not None
    return epochs_within(job, name, points, batch_size, train)


def epochs_within(
    job: Job,
    name: str,
    data: Data,
    batch_size: int,
    train: Callable[[Data, int], Sequence[Mapping]],
) -> int | None:
    """Epochs that come nearest to the job's budget, one for each phase at least.

    ``None`` without a budget.

    Args:
        job: The job.
        name: What is trained, in the name of the file that keeps its pace.
        data: All points to train on.
        batch_size: Points per step.
        train: From some points and a number of epochs for each phase to the history of a training.
    """
    if job.budget is None:
        return None

    path = job.out / f"pace-{name}.json"
    with FileLock(path.with_suffix(".lock")):  # of another job that measures it now
        if not path.is_file():
            write_atomically(path, json.dumps(_pace(data, batch_size, train)).encode())
    pace = json.loads(path.read_text())
    share = 60 * job.budget / (len(data) * sum(pace.values()))
    return len(pace) * max(round(share), 1)


def _pace(data: Data, batch_size: int, train: Callable[[Data, int], Sequence[Mapping]]) -> dict:
    """Seconds of a row in every phase."""
    few = data[: STEPS * batch_size].unweighted(0)
    fastest: dict[str, float] = {}
    for row in train(few, EPOCHS):
        fastest[row["phase"]] = min(row["seconds"], fastest.get(row["phase"], np.inf))
    return {phase: seconds / len(few) for phase, seconds in fastest.items()}
