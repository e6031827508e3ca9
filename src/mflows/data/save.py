"""Write files, all or nothing: to a temporary file beside the target, which it then replaces."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mflows.data.checks import DataError
from mflows.data.data import column_names
from mflows.files import replacing

Arrays = Mapping[str, np.ndarray]


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
    if path.suffix.lower() not in TABLES:
        arrays = {"x": np.stack(list(arrays.values()), axis=1), "names": np.array(list(arrays))}
    _write(path, arrays)


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
    holds neither names nor ``more``. Points of more axes, such as images (N, H, W, C), have no
    names, and go into ``.npy``, ``.npz`` and ``.h5`` files.

    Args:
        path: The file; replaced if it exists, and left as it was on an error.
        array: Numbers of shape (N, k), or (N, *shape).
        names: Names of the k columns; by default x0, x1, ...
        more: Further arrays by name, of shape (N,) or (N, C).

    Raises:
        DataError: As `check_output`, the shapes or names do not fit, ``more`` for ``.npy``, or
            points of more axes for a table.
    """
    path = check_output(path)
    array = np.asarray(array)
    more = {name: np.asarray(value) for name, value in (more or {}).items()}
    if array.ndim < 2:
        raise DataError(
            f"{path.name}: expected an array of shape (rows, columns) or (rows, *shape of a "
            f"point); got {array.shape}."
        )
    width = array.shape[1] if array.ndim == 2 else 0
    names = tuple(map(str, names)) or column_names("x", width)
    if len(names) != width or len(set(names)) != len(names):
        raise DataError(f"{path.name}: expected {width} different names; got {list(names)}.")
    wrong = {k: a.shape for k, a in more.items() if a.ndim not in (1, 2) or len(a) != len(array)}
    if wrong:
        raise DataError(f"{path.name}: expected arrays of {len(array)} rows; got {wrong}.")
    if {"x", "names", *names} & set(more):
        raise DataError(
            f"{path.name}: expected further arrays with names of their own, not 'x', 'names' or "
            f"those of columns; got {list(more)}."
        )
    if path.suffix.lower() not in TABLES:
        _write(path, {"x": array, **({"names": np.array(names)} if names else {}), **more})
        return
    if not names:
        raise DataError(
            f"{path.name}: expected rows of a table; got points of shape {array.shape[1:]}. Write "
            "them to a .npy, .npz or .h5 file."
        )
    columns = dict(zip(names, array.T, strict=True))
    for name, group in more.items():
        group = group.reshape(len(group), -1)
        members = [name] if group.shape[1] == 1 else column_names(name, group.shape[1])
        columns.update(zip(members, group.T, strict=True))
    _write(path, columns)


def _write(path: Path, arrays: Arrays) -> None:
    """Write arrays in the format of the suffix: the columns of a table, or ``x`` and others."""
    with replacing(path) as file:
        try:
            WRITERS[path.suffix.lower()](file, arrays)
        except (OSError, ValueError):
            raise
        except Exception as error:  # a foreign writer's word for a full disk
            raise OSError(f"{path.name} could not be written: {error}") from error


def _frame(columns: Arrays) -> Any:
    import polars as pl

    return pl.DataFrame({name: np.ascontiguousarray(column) for name, column in columns.items()})


def _write_csv(file: BinaryIO, columns: Arrays) -> None:
    _frame(columns).write_csv(file)


def _write_parquet(file: BinaryIO, columns: Arrays) -> None:
    _frame(columns).write_parquet(file)


def _write_npy(file: BinaryIO, arrays: Arrays) -> None:
    more = [name for name in arrays if name not in ("x", "names")]
    if more:
        raise DataError(f".npy holds one array; expected .npz or .h5 for {', '.join(more)} too.")
    np.save(file, arrays["x"], allow_pickle=False)


def _write_npz(file: BinaryIO, arrays: Arrays) -> None:
    np.savez(file, allow_pickle=False, **arrays)


def _write_h5(file: BinaryIO, arrays: Arrays) -> None:
    import h5py

    with h5py.File(file, "w") as target:
        for name, array in arrays.items():
            target[name] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array


WRITERS: dict[str, Callable[[BinaryIO, Arrays], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".h5": _write_h5,
    ".hdf5": _write_h5,
}
TABLES = (".csv", ".parquet")
"""Formats that hold columns and nothing else."""
