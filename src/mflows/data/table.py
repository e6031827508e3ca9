"""`Table`: the named columns of a file, taken on request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Table:
    """The columns of a file.

    Attributes:
        source: Name of the file, for messages.
        rows: Number of rows N.
        names: Names of the columns that are points unless chosen otherwise.
        named: Whether the file gave these names (else they are x0, x1, ...).
        read: Function from k names and a slice of rows to a float array of shape (rows, k). Where
            the format allows, only then the file is read, and no more of it; a part of a .npy file
            is mapped, not copied.
        groups: Further arrays: name of the array -> names of its columns.
        row_groups: Whether whole groups of rows are decoded, however few are read.
    """

    source: str
    rows: int
    names: tuple[str, ...]
    named: bool
    read: Callable[[Sequence[str], slice], np.ndarray]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_groups: bool = False

    def take(self, names: Sequence[str], rows: slice = slice(None)) -> np.ndarray:
        """Rows of the columns of these names, in memory whatever becomes of the file."""
        array = self.read(names, rows)
        return np.array(array) if _is_mapped(array) else array

    @property
    def present(self) -> tuple[str, ...]:
        """Names of all columns, those of the groups included."""
        return self.names + tuple(name for group in self.groups.values() for name in group)

    def expand(self, names: Sequence[str]) -> tuple[str, ...]:
        """Replace each name of a group by those of its columns."""
        chosen = (self.groups.get(n, (n,)) if n not in self.names else (n,) for n in names)
        return tuple(name for group in chosen for name in group)


def _is_mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap)
