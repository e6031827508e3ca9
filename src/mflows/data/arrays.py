"""Tables from .npy, .npz and .h5 files.

The columns are those of the array ``x``, or of the only two-dimensional array; ``names`` may name
them. Every other array of shape (N,) or (N, C) is a group of further columns. Arrays in .npy and
.h5 files stay there until their rows are asked for.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mflows.data.checks import DataError
from mflows.data.data import as_float, column_names
from mflows.data.table import Table


class _InFile:
    """The array of a .npy file; its rows are mapped into memory as long as somebody has them."""

    def __init__(self, path: Path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        self._path, self.shape, self.dtype, self.ndim = path, array.shape, array.dtype, array.ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.load(self._path, mmap_mode="r", allow_pickle=False)[rows]


def read_npy(path: Path) -> Table:
    """Open a single array."""
    return _from_arrays(path.name, {"x": _InFile(path)})


def read_npz(path: Path) -> Table:
    """Read an archive of arrays."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _from_arrays(path.name, dict(arrays))


def read_h5(path: Path) -> Table:
    """Open every dataset of an HDF5 file, in groups too, by its path."""
    import h5py

    arrays: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            text = h5py.check_string_dtype(item.dtype) is not None
            arrays[name] = np.asarray(item.asstr()[()]) if text else item

    h5py.File(path, "r").visititems(visit)  # closes with the last of its datasets
    return _from_arrays(path.name, arrays)


def _from_arrays(source: str, arrays: Mapping[str, Any]) -> Table:
    real = {name: a for name, a in arrays.items() if a.dtype.kind in "fiub" and a.ndim in (1, 2)}
    matrices = [name for name, array in real.items() if array.ndim == 2]
    key = "x" if "x" in arrays else matrices[0] if len(matrices) == 1 else None
    if key is None or key not in matrices:
        found = ", ".join(f"{n} {a.shape} {a.dtype}" for n, a in arrays.items()) or "no arrays"
        raise DataError(
            f"{source}: expected an array 'x' of numbers, of shape (rows, columns), "
            f"or one such array alone; got {found}."
        )
    x = real.pop(key)
    given = arrays.get("names")
    names = column_names("x", x.shape[1])
    if given is not None:
        names = tuple(map(str, np.asarray(given).ravel()))
        if len(names) != x.shape[1]:
            raise DataError(
                f"{source}: expected {x.shape[1]} names, one for each column of {key!r}; "
                f"got {len(names)}."
            )
    further = {name: array for name, array in real.items() if len(array) == len(x)}
    groups = {
        name: column_names(name, array.shape[1]) if array.shape[1:] not in ((), (1,)) else (name,)
        for name, array in further.items()
    }
    home = {name: (x, i) for i, name in enumerate(names)}
    for name, group in groups.items():
        home |= {member: (further[name], i) for i, member in enumerate(group) if member not in home}

    def read(wanted: Sequence[str], rows: slice) -> np.ndarray:
        if tuple(wanted) == names:
            return as_float(x[rows])
        parts: dict[int, np.ndarray] = {}
        columns = []
        for array, i in (home[name] for name in wanted):
            if id(array) not in parts:
                parts[id(array)] = as_float(array[rows]).reshape(-1, *array.shape[1:] or (1,))
            columns.append(parts[id(array)][:, i])
        return np.stack(columns, axis=1)

    named = names != column_names("x", x.shape[1])
    return Table(source, len(x), names, named, read, groups)
