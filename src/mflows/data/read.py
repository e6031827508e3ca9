"""Read a file of any supported format into a `Table`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from mflows.data.arrays import read_h5, read_npy, read_npz
from mflows.data.checks import DataError
from mflows.data.frames import read_csv, read_parquet
from mflows.data.table import Table

READERS: dict[str, Callable[[Path], Table]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".h5": read_h5,
    ".hdf5": read_h5,
}


def read_table(path: str | Path) -> Table:
    """Open ``path`` and read its columns' names; raises `DataError` for what cannot be read."""
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if path.is_dir():
        raise DataError(f"{path}: expected a file; got a folder. Name a file in it.")
    if reader is None:
        raise DataError(
            f"{path.name}: expected a file that ends in {', '.join(READERS)}; "
            f"got {path.suffix or 'no ending'!r}. Convert it or rename it."
        )
    if not path.is_file():
        raise DataError(f"{path}: expected a file; it does not exist. Check the spelling.")
    with _readable(path):
        table = reader(path)

    def read(names: Sequence[str], rows: slice) -> np.ndarray:
        with _readable(path):
            return table.read(names, rows)

    return replace(table, read=read)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Foreign parsers raise anything on a damaged file; here it becomes a `DataError`."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "pickle" in reason or "Python objects" in reason:  # what NumPy takes unknown files for
            reason = "no array of numbers; pickled objects are never loaded"
        raise DataError(
            f"{path.name}: expected a readable {path.suffix.lower()} file; got an error "
            f"({reason}). Is the file damaged?"
        ) from error
