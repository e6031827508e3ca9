"""`Stream`: rows of a file that may be larger than memory, read in pieces when they are needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mflows.data.checks import (
    DataError,
    check_condition_varies,
    check_finite,
    check_varied,
    equal_to,
    varying,
)
from mflows.data.data import Data
from mflows.data.flat import flat_copy
from mflows.data.load import choose_columns
from mflows.data.read import read_table
from mflows.data.table import Table

FORMATS = (".npy", ".h5", ".hdf5", ".parquet")
"""Files of which a part can be read without the rest."""
NUMBERS = 1 << 22
"""Numbers read at once: 16 MB in float32."""
FEW = 100_000
"""Rows held out, or taken as a sample, at most; fewer where they are wide."""


class StreamSplit(NamedTuple):
    """The rows that are streamed, and those held out, in memory."""

    kept: "Stream"
    held_out: Data


@dataclass(frozen=True, eq=False)
class Stream:
    """N points in R^D that stay in their file, with a condition for each or none.

    Made by `stream`. ``without`` are rows of the file that are no part of it.

    Args:
        table: The opened file.
        names: Names of the D columns of x.
        condition_names: Names of the C columns of the condition.
        score_names: Names of the columns of the joint score.
        without: Sorted indices of rows of the file that are left out.
    """

    table: Table
    names: tuple[str, ...]
    condition_names: tuple[str, ...] = ()
    score_names: tuple[str, ...] = ()
    without: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point, (D,)."""
        return (len(self.names),)

    @property
    def cond_shape(self) -> tuple[int, ...] | None:
        """Shape of one condition, (C,), or None."""
        return (len(self.condition_names),) if self.condition_names else None

    @property
    def scored(self) -> bool:
        """Whether there is a joint score."""
        return bool(self.score_names)

    @property
    def width(self) -> int:
        """Numbers per row."""
        return len(self.names) + len(self.condition_names) + len(self.score_names)

    def __len__(self) -> int:
        return self.table.rows - len(self.without)

    def read(self, start: int, stop: int) -> Data:
        """The rows from ``start`` to ``stop``."""
        x, condition, score = self.columns(start, stop)
        return Data(x, condition, self.names, self.condition_names, score)

    def columns(self, start: int, stop: int) -> tuple[np.ndarray, *tuple[np.ndarray | None, ...]]:
        """x, condition and joint score of these rows, not checked again."""
        first, last = (self._in_file(row) for row in (start, stop - 1))
        rows = slice(first, last + 1)
        out = self.without[np.searchsorted(self.without, first) :]
        out = out[: np.searchsorted(out, last)] - first

        def take(names: tuple[str, ...]) -> np.ndarray:
            array = self.table.read(names, rows)
            if len(array) != last + 1 - first:
                raise DataError(
                    f"{self.table.source}: expected {self.table.rows} rows, as when it was opened; "
                    f"got {first + len(array)}. Was the file changed since?"
                )
            return np.delete(array, out, axis=0) if len(out) else array

        condition, score = (
            take(names) if names else None for names in (self.condition_names, self.score_names)
        )
        return take(self.names), condition, score

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Starts and stops of consecutive stretches of rows, small enough to read at once."""
        size = max(NUMBERS // self.width, 1)
        for start in range(0, len(self), size):
            yield start, min(start + size, len(self))

    def sample(self, count: int, seed: int) -> Data:
        """So many random rows, at most as many as may be kept in memory; in the file's order."""
        count = min(count, len(self), self._few)
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False, shuffle=False)
        return self._rows(np.sort(chosen))

    def split(self, fraction: float, seed: int) -> StreamSplit:
        """Hold out a random ``fraction`` of the rows, the same ones for the same seed.

        At most ``FEW`` of them, fewer where rows are wide: they are kept in memory.
        """
        if not 0 < fraction < 1 or len(self) < 2:
            raise DataError(
                f"Expected a fraction between 0 and 1 and at least two rows to split; "
                f"got fraction {fraction} and {len(self)} rows."
            )
        count = min(max(round(fraction * len(self)), 1), len(self) - 1, self._few)
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False, shuffle=False)
        chosen = np.sort(chosen)
        without = np.union1d(self.without, self._in_file(chosen))
        return StreamSplit(replace(self, without=without), self._rows(chosen))

    @property
    def _few(self) -> int:
        return max(min(FEW, NUMBERS // self.width), 1)

    def _in_file(self, row):
        """Where rows are in the file."""
        kept_before = self.without - np.arange(len(self.without))
        return row + np.searchsorted(kept_before, row, side="right")

    def _rows(self, chosen: np.ndarray) -> Data:
        """The rows of sorted indices."""
        parts = []
        for start, stop in self.pieces():
            there = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, stop)]
            if len(there):
                parts.append(self.read(start, stop)[there - start])
        return concatenated(parts)


def concatenated(parts: Sequence[Data]) -> Data:
    """Rows of several tables with the same columns, one after the other."""

    def joined(name: str) -> np.ndarray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    x, condition, score = map(joined, ("x", "condition", "joint_score"))
    return Data(np.asarray(x), condition, parts[0].names, parts[0].condition_names, score)


def stream(
    path: str | Path,
    *,
    condition: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    drop_constant: bool = False,
) -> Stream:
    """Open a table that may be larger than memory, to fit a model to it.

    As `load`, for .npy, .h5 and .parquet files, of which only a few megabytes are in memory at a
    time. The whole file is read once, to check it; of a .parquet file a flat copy is made in a
    temporary folder (``TMPDIR``).

    Args:
        path: A .npy, .parquet, .h5 or .hdf5 file.
        condition: As for `load`.
        columns: As for `load`.
        drop_constant: As for `load`.

    Raises:
        DataError: As for `load`, or the format cannot be read in pieces.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise DataError(
            f"{path.name}: expected a file that can be read in pieces, {', '.join(FORMATS)}; got "
            f"{path.suffix or 'no ending'!r}. Convert it, or load it into memory."
        )
    table = read_table(path)
    chosen = choose_columns(table, condition, columns)
    if table.row_groups:
        table = flat_copy(table, chosen)
    found = Stream(table, *chosen)
    constant, constant_condition = (
        _checked(found, names) for names in (found.names, found.condition_names)
    )
    if drop_constant and not constant.all():
        found = replace(found, names=varying(found.names, constant))
        constant = constant[~constant]
    check_varied(table.source, table.rows, constant, found.names)
    check_condition_varies(table.source, constant_condition, found.condition_names)
    return found


def _checked(data: Stream, names: tuple[str, ...]) -> np.ndarray:
    """Read every row of these columns; returns which are constant."""
    constant, first = np.ones(len(names), dtype=bool), None
    for start, stop in data.pieces() if names else ():
        rows = data.table.read(names, slice(start, stop))
        check_finite(data.table.source, rows, names, rows_before=start)
        first = rows[:1] if first is None else first
        constant &= equal_to(first, rows).all(axis=0)
    return constant
