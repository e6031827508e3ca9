"""Progress through the rows of a file."""

from collections.abc import Iterator
from pathlib import Path


def in_pieces(run, path: Path) -> Iterator:
    """Rows for a run, some at a time; with a bar on standard error, on a terminal.

    Args:
        run: The `Run` whose columns are read.
        path: The file, which may be larger than memory.
    """
    from rich.console import Console
    from rich.progress import Progress

    data = run.load(path, stream=True)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Rows", total=len(data))
        for piece in data.pieces():
            yield piece
            bar.advance(task, len(piece))
