"""Write tables, all or nothing: to a temporary file beside the target, which it then replaces."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mflows.data.atomic import replacing
from mflows.data.checks import DataError
from mflows.data.data import column_names

Columns = Mapping[str, np.ndarray]


def check_output(path: str | Path) -> Path:
    """Return ``path`` if a table can be written there; call it before long work.

    Raises:
        DataError: Unknown suffix, no such folder, or the path is a folder.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise DataError(
            f"{path.name}: expected an output file that ends in {', '.join(WRITERS)}; "
            f"got {path.suffix or 'no ending'!r}."
        )
    if not path.parent.is_dir():
        raise DataError(f"{path}: expected an existing folder; create {str(path.parent)!r} first.")
    if path.is_dir():
        raise DataError(f"{path}: expected a file name; got a folder.")
    return path


def save_table(path: str | Path, columns: Mapping[str, Any]) -> None:
    """Write named columns, each of shape (N,), to .csv .parquet .npy .npz .h5 or .hdf5.

    ``.npz`` and ``.h5`` hold them as the array ``x`` of shape (N, k) and its ``names``; ``.npy``
    has no names. An existing file is replaced; on an error it is left as it was.

    Raises:
        DataError: As `check_output`, or the columns differ in length.
    """
    path = check_output(path)
    arrays = {str(name): np.asarray(column) for name, column in columns.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(f"{path.name}: expected columns of one shape (rows,); got {got or 'none'}.")
    _write(path, arrays, {})


def save_array(
    path: str | Path,
    array: Any,
    names: Sequence[str] = (),
    *,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write an array of shape (N, k), with names of its columns and ``more`` arrays of N rows.

    In ``.npz`` and ``.h5`` files the array is ``x`` with its ``names``, and ``more`` keep their
    own names and shapes. In ``.csv`` and ``.parquet`` all become columns: an array ``theta`` of
    shape (N,) or (N, 1) is ``theta``, of shape (N, C) ``theta0``, ``theta1``, ... A ``.npy`` file
    holds neither names nor ``more``.

    Args:
        path: The file; replaced if it exists, and left as it was on an error.
        array: Numbers of shape (N, k).
        names: Names of the k columns; by default x0, x1, ...
        more: Further arrays by name, of shape (N,) or (N, C).

    Raises:
        DataError: As `check_output`, the shapes or names do not fit, or ``more`` for ``.npy``.
    """
    path = check_output(path)
    array = np.asarray(array)
    more = {name: np.asarray(value) for name, value in (more or {}).items()}
    if array.ndim != 2:
        raise DataError(
            f"{path.name}: expected an array of shape (rows, columns); got {array.shape}."
        )
    names = tuple(map(str, names)) or column_names("x", array.shape[1])
    if len(names) != array.shape[1] or len(set(names)) != len(names):
        raise DataError(
            f"{path.name}: expected {array.shape[1]} different names; got {list(names)}."
        )
    wrong = {k: a.shape for k, a in more.items() if a.ndim not in (1, 2) or len(a) != len(array)}
    if wrong:
        raise DataError(f"{path.name}: expected arrays of {len(array)} rows; got {wrong}.")
    if {"x", "names", *names} & set(more):
        raise DataError(
            f"{path.name}: expected further arrays with names of their own, not 'x', 'names' or "
            f"those of columns; got {list(more)}."
        )
    _write(path, dict(zip(names, array.T, strict=True)), more)


def _write(path: Path, columns: Columns, more: Columns) -> None:
    """Write ``columns``, and ``more`` arrays beside them, in the format of the suffix."""
    with replacing(path) as file:
        WRITERS[path.suffix.lower()](file, columns, more)


def _frame(columns: Columns, more: Columns) -> Any:
    import polars as pl

    wide = dict(columns)
    for name, array in more.items():
        array = array.reshape(len(array), -1)
        group = [name] if array.shape[1] == 1 else column_names(name, array.shape[1])
        wide.update(zip(group, array.T, strict=True))
    return pl.DataFrame({name: np.ascontiguousarray(array) for name, array in wide.items()})


def _arrays(columns: Columns, more: Columns) -> dict[str, np.ndarray]:
    return {"x": np.stack(list(columns.values()), axis=1), "names": np.array(list(columns)), **more}


def _write_csv(file: BinaryIO, columns: Columns, more: Columns) -> None:
    _frame(columns, more).write_csv(file)


def _write_parquet(file: BinaryIO, columns: Columns, more: Columns) -> None:
    _frame(columns, more).write_parquet(file)


def _write_npy(file: BinaryIO, columns: Columns, more: Columns) -> None:
    if more:
        raise DataError(f".npy holds one array; expected .npz or .h5 for {', '.join(more)} too.")
    np.save(file, _arrays(columns, {})["x"], allow_pickle=False)


def _write_npz(file: BinaryIO, columns: Columns, more: Columns) -> None:
    np.savez(file, allow_pickle=False, **_arrays(columns, more))


def _write_h5(file: BinaryIO, columns: Columns, more: Columns) -> None:
    import h5py

    with h5py.File(file, "w") as target:
        for name, array in _arrays(columns, more).items():
            target[name] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array


WRITERS: dict[str, Callable[[BinaryIO, Columns, Columns], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".h5": _write_h5,
    ".hdf5": _write_h5,
}
