"""Open a file of any supported format as a `Table`: named columns, or points of any shape.

In .npy, .npz and .h5 files the points are the array ``x``, or the only one with two axes or more;
``names`` may name its columns. Every other array of shape (N,) or (N, C) is a group of further
columns. In .csv and .parquet files every column has its name. A folder is one of pictures. Numbers
stay in the file until their rows are asked for, where the format allows.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mflows.data import frames
from mflows.data.checks import DataError
from mflows.data.data import as_float, column_names
from mflows.data.levels import from_levels
from mflows.data.mapped import Mapped

SWOLLEN, PACKED = 1 << 30, 100
"""An archive that unpacks to more bytes than the first, and more times its own size than the
second, is refused."""


@dataclass(frozen=True)
class Table:
    """The columns of a file.

    Attributes:
        path: The file.
        rows: Number of rows N.
        names: Names of the columns that are points unless chosen otherwise; none if points have
            more than one axis.
        named: Whether the file gave these names (else they are x0, x1, ...).
        read: Function from k names, a start and a stop to a float array of these rows of the
            columns; of points that have no columns if there are no names.
        shape: Shape of a point.
        groups: Further arrays: name of the array -> names of its columns.
        row_groups: Whether whole groups of rows are decoded, however few are read.
        notes: What is done to the points when they are read.
    """

    path: Path
    rows: int
    names: tuple[str, ...]
    named: bool
    read: Callable[[Sequence[str], int, int], np.ndarray]
    shape: tuple[int, ...]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_groups: bool = False
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Name of the file, for messages."""
        return self.path.name

    @property
    def present(self) -> tuple[str, ...]:
        """Names of all columns, those of the groups included."""
        return self.names + tuple(name for group in self.groups.values() for name in group)

    def expand(self, names: Sequence[str]) -> tuple[str, ...]:
        """Replace each name of a group by those of its columns."""
        chosen = (self.groups.get(n, (n,)) if n not in self.names else (n,) for n in names)
        return tuple(name for group in chosen for name in group)

    def columns(self, names: Sequence[str]) -> Mapped:
        """The columns of these names, or the points if there are no names."""

        def rows(start: int, stop: int) -> np.ndarray:
            with _readable(self.path):
                return self.read(names, start, stop)

        return Mapped(self.source, (self.rows, *((len(names),) if names else self.shape)), rows)


def read_table(
    path: str | Path, *, size: int | None = None, like: tuple[int, ...] | None = None
) -> Table:
    """Open ``path`` and read its columns' names, or decode the pictures of a folder.

    Args:
        path: A file, or a folder.
        size: Height and width of the pictures of a folder.
        like: Shape of a model's points, which pictures are made to have.

    Raises:
        DataError: For what cannot be read, or a size of what is no folder.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, size, like)
    if size is not None:
        raise DataError(
            f"{path.name}: expected a folder of pictures to resize to {size} x {size}; got another "
            "path. Leave out the size (--size on the command line)."
        )
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path.name}: expected a file that ends in {', '.join(READERS)}; "
            f"got {path.suffix or 'no ending'!r}. Convert it or rename it."
        )
    if not path.is_file():
        raise DataError(f"{path}: expected a file; it does not exist. Check the spelling.")
    with _readable(path):
        return reader(path)


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


class _Npy:
    """The array of a .npy file, mapped into memory only while rows of it are copied."""

    def __init__(self, path: Path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        self._path, self.shape, self.dtype, self.ndim = path, array.shape, array.dtype, array.ndim

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.array(np.load(self._path, mmap_mode="r", allow_pickle=False)[rows])


def _read_folder(path: Path, size: int | None, like: tuple[int, ...] | None) -> Table:
    from mflows.data.folder import read_folder

    levels, note, _ = read_folder(path, size, like)

    def read(_: Sequence[str], start: int, stop: int) -> np.ndarray:
        return from_levels(levels[start:stop])

    return Table(path, len(levels), (), False, read, levels.shape[1:], notes=(note,))


def _read_npy(path: Path) -> Table:
    return _from_arrays(path, {"x": _Npy(path)})


def _read_npz(path: Path) -> Table:
    with zipfile.ZipFile(path) as archive:
        packed, whole = path.stat().st_size, sum(info.file_size for info in archive.infolist())
    if whole > SWOLLEN and whole > PACKED * packed:
        raise DataError(
            f"{path.name}: expected arrays of about the size of their file, {packed:,} bytes; got "
            f"{whole:,} bytes when unpacked. If that is right, write them as .npy files."
        )
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _from_arrays(path, dict(arrays))


def _read_h5(path: Path) -> Table:
    """Every dataset, in groups too, by its path."""
    import h5py

    arrays: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise DataError(
                    f"{path.name}: expected arrays in this file; got {name!r}, whose values are in "
                    "other files, which are not read. Copy them into one file."
                )
            text = h5py.check_string_dtype(item.dtype) is not None
            arrays[name] = np.asarray(item.asstr()[()]) if text else item

    h5py.File(path, "r").visititems(visit)  # closes with the last of its datasets
    return _from_arrays(path, arrays)


def _from_arrays(path: Path, arrays: Mapping[str, Any]) -> Table:
    real = {name: a for name, a in arrays.items() if a.dtype.kind in "fiub" and a.ndim > 0}
    points = [name for name, array in real.items() if array.ndim > 1]
    key = "x" if "x" in arrays else points[0] if len(points) == 1 else None
    if key is None or key not in points:
        found = ", ".join(f"{n} {a.shape} {a.dtype}" for n, a in arrays.items()) or "no arrays"
        raise DataError(
            f"{path.name}: expected an array 'x' of numbers, of shape (rows, columns) or "
            f"(rows, *shape of a point), or one such array alone; got {found}."
        )
    x = real.pop(key)
    rows, shape = x.shape[0], x.shape[1:]
    unnamed = names = column_names("x", x.shape[1]) if x.ndim == 2 else ()
    if "names" in arrays:
        names = tuple(map(str, np.asarray(arrays["names"]).ravel()))
        if len(names) != len(unnamed):
            raise DataError(
                f"{path.name}: expected {len(unnamed)} names, one for each column of {key!r}; "
                f"got {len(names)}."
            )
    further = {name: a for name, a in real.items() if a.ndim < 3 and a.shape[0] == rows}
    groups = {
        name: column_names(name, a.shape[1]) if a.shape[1:] not in ((), (1,)) else (name,)
        for name, a in further.items()
    }
    home = {name: (x, i) for i, name in enumerate(names)}
    for name, group in groups.items():
        home |= {member: (further[name], i) for i, member in enumerate(group) if member not in home}

    of_levels = x.ndim > 2 and x.dtype == np.uint8
    to_points = from_levels if of_levels else as_float

    def read(wanted: Sequence[str], start: int, stop: int) -> np.ndarray:
        if tuple(wanted) == names:
            return to_points(x[start:stop])
        parts: dict[int, np.ndarray] = {}
        columns = []
        for array, i in (home[name] for name in wanted):
            if id(array) not in parts:
                part = as_float(array[start:stop])
                parts[id(array)] = part.reshape(len(part), -1)
            columns.append(parts[id(array)][:, i])
        return np.stack(columns, axis=1)

    note = (
        f"{path.name}: {rows:,} pictures of {' x '.join(map(str, shape))} in 8-bit levels; level k "
        "as (k + 1/2) / 256."
    )
    notes = (note,) if of_levels else ()
    return Table(path, rows, names, names != unnamed, read, shape, groups, notes=notes)


def _read_csv(path: Path) -> Table:
    return _from_frame(path, *frames.open_csv(path))


def _read_parquet(path: Path) -> Table:
    return replace(_from_frame(path, frames.open_parquet(path), named=True), row_groups=True)


def _from_frame(path: Path, frame: Any, named: bool) -> Table:
    names, rows = frames.columns_and_rows(frame)
    places = {name: place for place, name in enumerate(names)}

    def read(wanted: Sequence[str], start: int, stop: int) -> np.ndarray:
        return frames.numbers(path.name, frame, [places[name] for name in wanted], start, stop)

    return Table(path, rows, names, named, read, (len(names),))


READERS: dict[str, Callable[[Path], Table]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".h5": _read_h5,
    ".hdf5": _read_h5,
}
