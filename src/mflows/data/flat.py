"""A flat copy of a table whose file cannot be read in small pieces without reading much more.

Every read of a Parquet file decodes whole row groups, however few rows are wanted. A stream reads
random rows again and again, so it decodes such a file once, into a temporary file that vanishes
with the table.
"""

import tempfile
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mflows.data.table import Table

NUMBERS = 1 << 26
"""Numbers decoded at once: a quarter of a gigabyte in single precision."""


class _Flat:
    """Columns of a table, row after row, in a temporary file (``TMPDIR``)."""

    def __init__(self, table: Table, names: tuple[str, ...]):
        file = tempfile.TemporaryFile(prefix="mflows-")  # noqa: SIM115
        weakref.finalize(self, file.close)
        self._file, self._shape = file, (table.rows, len(names))
        self._column = {name: index for index, name in enumerate(names)}
        self._dtype = np.dtype(np.float32)
        step = max(NUMBERS // len(names), 1)
        for start in range(0, table.rows, step):
            part = table.read(names, slice(start, start + step))
            self._dtype = part.dtype if start == 0 else self._dtype
            part.astype(self._dtype, copy=False).tofile(file)

    def read(self, names: Sequence[str], rows: slice) -> np.ndarray:
        columns = [self._column[name] for name in names]
        together = slice(columns[0], columns[0] + len(columns))
        consecutive = columns == [*range(together.start, together.stop)]
        mapped = np.memmap(self._file, self._dtype, "r", shape=self._shape)
        return mapped[rows, together if consecutive else columns]


def flat_copy(table: Table, groups: Iterable[tuple[str, ...]]) -> Table:
    """The same table, read from flat copies of groups of its columns, each of one precision.

    Columns that are asked for together have to be of one group.
    """
    copies = {names: _Flat(table, names) for names in groups if names}

    def read(names: Sequence[str], rows: slice) -> np.ndarray:
        (copy,) = (copy for group, copy in copies.items() if {*names} <= {*group})
        return copy.read(names, rows)

    return replace(table, read=read, row_groups=False)
