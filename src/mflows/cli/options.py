"""Options and arguments that several commands share, and how their values are read."""

from pathlib import Path
from typing import Annotated, Any

import typer

RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run folder that mflows fit wrote.", show_default=False),
]
Table = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="Table: .npy .npz .csv .parquet or .h5.", show_default=False
    ),
]
Output = Annotated[
    Path,
    typer.Option(help="File to write: .npy .npz .csv .parquet or .h5.", show_default=False),
]


def names(text: str) -> tuple[str, ...]:
    """Read ``a,b`` as names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def pairs(text: str, option: str) -> dict[str, str]:
    """Read ``a=1,b=2`` as names and values."""
    found: dict[str, str] = {}
    for part in names(text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ValueError(f"Expected {option} as name=value,name=value; got {text!r}.")
        if name in found:
            raise ValueError(f"Expected every name in {option} once; got {name!r} twice.")
        found[name] = value
    return found


def literal(text: str) -> Any:
    """Read a whole number, a number, ``true`` or ``false``; anything else stays text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
