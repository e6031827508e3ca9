"""The run behind a row of a table, whether it was trained before, is trained now, or diverges."""

from pathlib import Path
from typing import Any

from mflows.runs import Config, Run, open_run, train
from mflows.training import TrainingDiverged


def trained(folder: Path, config: Config, *, overwrite: bool, progress: bool) -> Run:
    """Train, go on with, or open the run in ``folder``.

    A run that diverged comes with its last good flow; ``provenance["status"]`` tells.
    """
    replace = overwrite and folder.is_dir()
    try:
        return train(folder, config, overwrite=replace, resume=not replace, progress=progress)
    except TrainingDiverged:
        return open_run(folder)


def account(run: Run) -> dict[str, Any]:
    """What a row says of how its run went."""
    kept = ("status", "wall_seconds", "cpu_seconds", "commit")
    return {name: run.provenance[name] for name in kept}


def mark(status: str) -> str:
    """What a table puts beside a row of a run that ended so."""
    return "" if status == "finished" else f" {status}"
