"""What a worker tells on standard error: a line for each trial, and what the current one does."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from mflows.sweeps.plan import Ready
from mflows.sweeps.space import Value


class Line:
    """How one trial ended."""

    text = "stopped"

    def ended(self, how: str) -> None:
        """Note it."""
        self.text = how


class Board:
    """Tells what happens, if ``progress``, as it happens.

    Args:
        ready: The sweep.
        progress: Tell it.
    """

    def __init__(self, ready: Ready, progress: bool):
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not progress)
        self._status = Status("", console=self._console)
        self._head = ""
        if ready.plan.prune and not ready.compared.epochs:
            self._console.print(f"No trial is pruned: {ready.compared.why}.")

    @contextmanager
    def trial(self, number: int, values: Mapping[str, Value]) -> Iterator[Line]:
        """Tell of one trial."""
        line, started = Line(), time.monotonic()
        self._head = f"trial {number}: {written(values)}"
        self._status.update(f"{self._head}  compiling")
        try:
            if self._console.is_terminal and not self._console.quiet:
                self._status.start()
            yield line
        finally:
            self._status.stop()
            seconds = time.monotonic() - started
            self._console.print(f"{self._head}  {line.text}  ({seconds:.1f} s)")

    def epoch(self, row: Mapping) -> None:
        """Tell of one epoch of the trial."""
        self._status.update(
            f"{self._head}  {row['phase']}, epoch {row['epoch']}: validation "
            f"{row['validation']:.4g}"
        )


def written(values: Mapping[str, Value]) -> str:
    """Values of a trial, as a line."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )
