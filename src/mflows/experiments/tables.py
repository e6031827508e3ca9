"""The tables that experiments print: narrow enough for a terminal of 80 characters."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table


def table(title: str, headers: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """A table without frames, which cost the width that numbers need."""
    made = Table(*headers, title=title, box=SIMPLE_HEAD, padding=(0, 0))
    for row in rows:
        made.add_row(*row)
    return made
