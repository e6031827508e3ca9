"""Tables from .npy, .npz and .h5 files.

The columns are those of the array ``x``, or of the only two-dimensional array; ``names`` may name
them. Every other array of shape (N,) or (N, C) is a group of further columns.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mflows.data.checks import DataError
from mflows.data.data import as_float, column_names
from mflows.data.table import Table


def read_npy(path: Path) -> Table:
    """Read a single array."""
    with path.open("rb") as file:
        return _from_arrays(path.name, {"x": np.load(file, allow_pickle=False)})


def read_npz(path: Path) -> Table:
    """Read an archive of arrays."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return _from_arrays(path.name, dict(arrays))


def read_h5(path: Path) -> Table:
    """Read every dataset of an HDF5 file, in groups too, by its path."""
    import h5py

    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            text = h5py.check_string_dtype(item.dtype) is not None
            arrays[name] = np.asarray(item.asstr()[()] if text else item[()])

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return _from_arrays(path.name, arrays)


def _from_arrays(source: str, arrays: dict[str, np.ndarray]) -> Table:
    real = {name: a for name, a in arrays.items() if a.dtype.kind in "fiub" and a.ndim in (1, 2)}
    matrices = [name for name, array in real.items() if array.ndim == 2]
    key = "x" if "x" in arrays else matrices[0] if len(matrices) == 1 else None
    if key is None or key not in matrices:
        found = ", ".join(f"{n} {a.shape} {a.dtype}" for n, a in arrays.items()) or "no arrays"
        raise DataError(
            f"{source}: expected an array 'x' of numbers, of shape (rows, columns), "
            f"or one such array alone; got {found}."
        )
    x = as_float(real.pop(key))
    given = arrays.get("names")
    names = column_names("x", x.shape[1])
    if given is not None:
        names = tuple(map(str, given.ravel()))
        if len(names) != x.shape[1]:
            raise DataError(
                f"{source}: expected {x.shape[1]} names, one for each column of {key!r}; "
                f"got {len(names)}."
            )
    columns, groups = {}, {}
    for name, array in real.items():
        if len(array) != len(x):
            continue
        array = as_float(array).reshape(len(x), -1)
        group = (name,) if array.shape[1] == 1 else column_names(name, array.shape[1])
        groups[name] = group
        columns.update(zip(group, array.T, strict=True))
    index = {name: i for i, name in enumerate(names)}

    def take(wanted: Sequence[str]) -> np.ndarray:
        if tuple(wanted) == names:
            return x
        if all(name in index for name in wanted):
            return x[:, [index[name] for name in wanted]]
        return np.stack([x[:, index[n]] if n in index else columns[n] for n in wanted], axis=1)

    named = names != column_names("x", x.shape[1])
    return Table(source, len(x), names, named, take, groups)
