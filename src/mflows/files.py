"""Files that are written whole or not at all, and the user's cache folder."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` when the block ends without an error.

    It is written beside ``path`` and moved there; after an error or a crash ``path`` is as it was.
    A link stays a link, whose target is replaced; a file keeps its permissions. What is no file,
    such as a pipe or /dev/null, is written to as it is.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as file:
            if path.exists():
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Replace the content of ``path``, whole or not at all."""
    with replacing(path) as file:
        file.write(content)


def sweep(folder: Path) -> None:
    """Remove what crashes have left of `replacing` in a folder that no other process writes to."""
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def cache_folder(name: str) -> Path:
    """A folder in ``$XDG_CACHE_HOME/mflows``, by default ``~/.cache/mflows``; it may be deleted.

    It is made where it is not there.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mflows" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
