"""How many epochs a budget of minutes holds, by the pace of a short training on the same machine.

Compiling is not counted. The pace of a system is measured once, and kept in the experiment's
folder.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from filelock import FileLock

from mflows.data import Data, write_atomically
from mflows.experiments.driver import Job

STEPS, EPOCHS = 50, 3
"""Steps of an epoch of the short training, and epochs of each of its phases."""


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
