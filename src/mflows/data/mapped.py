"""Rows that stay in a file until they are asked for.

`Mapped` stands for an array that may be larger than memory: indexing reads, and what was read is an
ordinary array. `Scratch` is a file to which such an array is written block after block.
"""

import math
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mflows.data.checks import DataError

NUMBERS = 1 << 24
"""Numbers read at once: 64 MB in float32, little beside any memory and long enough for a disk."""


class Mapped:
    """An array of N rows in a file, shape (N, *shape); indexing reads these rows into memory.

    Args:
        source: Name of the file, for messages.
        shape: Shape of the array in the file.
        read: Function from a start and a stop to a copy of these rows of the file.
        left_out: Sorted indices of rows of the file that are no part of the array.
    """

    def __init__(
        self,
        source: str,
        shape: tuple[int, ...],
        read: Callable[[int, int], np.ndarray],
        left_out: np.ndarray | None = None,
    ):
        self.source = source
        self._rows, self._read = shape[0], read
        self._left_out = np.zeros(0, dtype=np.int64) if left_out is None else left_out
        self.shape = (self._rows - len(self._left_out), *shape[1:])
        self.ndim = len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The rows of a slice, of a mask or of an array of indices, in memory."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._stretch(start, stop)
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows + len(self) * (rows < 0)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"Expected indices of {len(self)} rows; got others.")
        order = np.argsort(rows, kind="stable")
        wanted, parts = rows[order], [self._stretch(0, 0)]
        for start, stop in stretches(self):
            there = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, stop)]
            if len(there):
                parts.append(self._stretch(start, stop)[there - start])
        return np.concatenate(parts)[np.argsort(order)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype, copy=False)

    def without(self, rows: np.ndarray) -> "Mapped":
        """The array less the rows of these sorted indices; nothing is read."""
        left_out = np.union1d(self._left_out, self._in_file(rows))
        return Mapped(self.source, (self._rows, *self.shape[1:]), self._read, left_out)

    def _stretch(self, start: int, stop: int) -> np.ndarray:
        """Consecutive rows."""
        if start >= stop:
            return self._read(0, 1)[:0]
        first, last = (int(self._in_file(row)) for row in (start, stop - 1))
        found = self._read(first, last + 1)
        if len(found) != last + 1 - first:
            raise DataError(
                f"{self.source}: expected {self._rows} rows, as when it was opened; "
                f"got {first + len(found)}. Was the file changed since?"
            )
        out = self._left_out[np.searchsorted(self._left_out, first) :]
        out = out[: np.searchsorted(out, last)] - first
        return np.delete(found, out, axis=0) if len(out) else found

    def _in_file(self, row):
        """Where rows are in the file."""
        kept_before = self._left_out - np.arange(len(self._left_out))
        return row + np.searchsorted(kept_before, row, side="right")


class Scratch:
    """Rows in a temporary file (``TMPDIR``), appended block after block; it vanishes with its user.

    Args:
        source: What the rows are, for messages.
    """

    def __init__(self, source: str = "temporary file"):
        file = tempfile.TemporaryFile(prefix="mflows-")  # noqa: SIM115
        weakref.finalize(self, file.close)
        self._file, self._source = file, source
        self._count, self._dtype, self._shape = 0, np.dtype(np.float64), ()

    def append(self, rows: np.ndarray) -> None:
        """Write rows after those before, in the precision of the first ones."""
        if self._count == 0:
            self._dtype, self._shape = rows.dtype, rows.shape[1:]
        rows.astype(self._dtype, copy=False).tofile(self._file)
        self._count += len(rows)

    def array(self) -> Mapped:
        """What was written."""
        return Mapped(self._source, (self._count, *self._shape), self._read)

    def _read(self, start: int, stop: int) -> np.ndarray:
        offset = start * math.prod(self._shape) * self._dtype.itemsize
        shape = (stop - start, *self._shape)
        return np.array(np.memmap(self._file, self._dtype, "r", offset, shape))


Array = np.ndarray | Mapped
"""Rows in memory or in a file."""


def stretches(array: Array) -> Iterator[tuple[int, int]]:
    """Starts and stops of consecutive rows: all those in memory, of a file few enough to read."""
    size = len(array)
    if isinstance(array, Mapped):
        size = max(NUMBERS // math.prod(array.shape[1:]), 1)
    for start in range(0, len(array), size):
        yield start, min(start + size, len(array))


def copied(array: Mapped) -> Mapped:
    """A copy in a temporary file: of a format that decodes much to read little."""
    scratch = Scratch(array.source)
    for start, stop in stretches(array):
        scratch.append(array[start:stop])
    return scratch.array()
