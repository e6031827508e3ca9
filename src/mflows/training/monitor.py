"""What a training run shows and writes while it goes on."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Monitor:
    """Live progress on standard error; ``history.jsonl`` and TensorBoard events in a folder.

    Args:
        folder: Where to write, ``None`` for nowhere.
        progress: Show progress.
        history: Rows of an earlier, interrupted part of the run.
        each_epoch: Called with every new row once it is recorded.
    """

    def __init__(
        self,
        folder: Path | None,
        progress: bool,
        history: list[dict],
        each_epoch: Callable[[dict], None] | None = None,
    ):
        self._each_epoch = each_epoch
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not progress,
        )
        self._file = self._events = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "history.jsonl").open("w")
            self._events = _summary_writer(folder / "tensorboard")
            for row in history:
                self._write(row)

    def __enter__(self) -> "Monitor":
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()
        if self._file is not None:
            self._file.close()
        if self._events is not None:
            self._events.close()

    def begin(self, name: str, epochs: int, done: int):
        """Begin a phase; returns the handle that ``part`` and ``epoch`` want."""
        return self._progress.add_task(name, total=epochs, completed=done, losses="compiling")

    @contextmanager
    def starting(self, name: str) -> Iterator[list[str]]:
        """Show how the start of a phase is prepared; yields what was decided, and why."""
        task = self._progress.add_task(f"start of {name}", total=None, losses="")
        decided: list[str] = []

        def seen(record: logging.LogRecord) -> bool:
            if record.levelno >= logging.INFO:
                decided.append(record.getMessage())
            self._progress.update(task, losses=record.getMessage())
            return True

        log = logging.getLogger("mflows.training.starts")
        level = log.level
        log.setLevel(logging.DEBUG)
        log.addFilter(seen)
        try:
            yield decided
        finally:
            log.removeFilter(seen)
            log.setLevel(level)
            self._progress.remove_task(task)

    def part(self, task, epochs: float, loss: float) -> None:
        """Show that an epoch is not over yet: so many, with a fraction, and the loss so far."""
        self._progress.update(task, completed=epochs, losses=f"train {loss:.4g}")

    def epoch(self, task, epochs: int, row: dict) -> None:
        """Record the last one of so many finished epochs."""
        losses = f"train {row['train']:.4g}  validation {row['validation']:.4g}"
        self._progress.update(task, completed=epochs, losses=losses)
        self._write(row)
        if self._each_epoch is not None:
            self._each_epoch(row)

    def _write(self, row: dict) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._events is not None:
            for kind in ("train", "validation"):
                self._events.add_scalar(f"{row['phase']}/{kind}", row[kind], row["epoch"])


def _summary_writer(folder: Path):
    """A writer of TensorBoard events; without torch, which would take seconds to import."""
    modules: dict = sys.modules
    absent = "torch" not in modules
    if absent:
        modules["torch"] = None  # what tensorboardX takes for "not installed"
    try:
        from tensorboardX import SummaryWriter  # imports protobuf: slow, and only needed here
    finally:
        if absent:
            del modules["torch"]
    return SummaryWriter(str(folder))
