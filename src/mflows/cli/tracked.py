"""Progress through the pieces of a table."""

from collections.abc import Iterable


def tracked(pieces) -> Iterable:
    """The tables of ``Pieces``, with a bar on standard error if they are several, on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(
        pieces.tables,
        "Rows",
        pieces.count,
        console=console,
        transient=True,
        disable=pieces.count == 1 or not console.is_terminal,
    )
