"""Load a table: `load` to fit a model to it, `load_like` and `pieces_like` for one that exists."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mflows.data.checks import (
    DataError,
    check_condition_varies,
    check_finite,
    check_present,
    check_varied,
    constant_columns,
    listed,
    varying,
)
from mflows.data.data import Data
from mflows.data.flat import flat_copy
from mflows.data.read import read_table
from mflows.data.table import Table

NUMBERS = 1 << 25
"""Numbers in a piece of a table, at most: 128 MB in float32."""
ROWS = 1 << 17
"""Rows in a piece, at most."""


class Pieces(NamedTuple):
    """A table in pieces: how many, and these one after the other, each loaded when it is wanted."""

    count: int
    tables: Iterator[Data]


def load(
    path: str | Path,
    *,
    condition: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    drop_constant: bool = False,
) -> Data:
    """Load a table to fit a model to.

    In ``.csv`` and ``.parquet`` files every column is a coordinate of x, except the condition. In
    ``.npz`` and ``.h5`` files x is the array ``x`` (or the only two-dimensional array), ``names``
    may name its columns, and any other array of N rows may serve as condition: an array ``theta``
    of shape (N,) as ``theta``, one of shape (N, C) as ``theta``, or ``theta0``, ``theta1``, ... in
    part. An array ``joint_score`` with as many columns as the condition is the joint score.
    Columns without names are x0, x1, ... The unnamed row index that pandas writes into csv files is
    left out. float32 stays float32, all other numbers become float64.

    Args:
        path: A .npy, .npz, .csv, .parquet, .h5 or .hdf5 file. Pickled objects are never loaded.
        condition: Names of the columns that are the condition (theta) rather than part of x.
        columns: Names of the columns of x, in order; by default all but the condition.
        drop_constant: Leave out columns of x that hold one value only.

    Raises:
        DataError: The file is missing, unreadable or of an unknown format; named columns are
            missing; there are text columns, values that are not finite, fewer than two rows, only
            equal rows, or constant columns.
    """
    table = read_table(path)
    names, chosen, score = choose_columns(table, condition, columns)
    x, theta = _take(table, names, chosen)
    constant = constant_columns(x)
    if drop_constant and not constant.all():
        x, names = x[:, ~constant], varying(names, constant)
        constant = constant[~constant]
    check_varied(table.source, len(x), constant, names)
    if theta is not None:
        check_condition_varies(table.source, constant_columns(theta), chosen)
    return Data(x, theta, names, chosen, table.take(score) if score else None)


def load_like(
    path: str | Path, *, names: Sequence[str], condition_names: Sequence[str] = ()
) -> Data:
    """Load a table for a model that exists, with the columns that the model was fitted to.

    Columns are chosen by name when the file has names; others are left alone. A file without
    names must hold exactly the model's columns, in their order (or the table the model was fitted
    to: columns that were dropped as constant may still be there). One row is enough, and columns
    may be constant.

    Args:
        path: As for `load`.
        names: The model's ``names``.
        condition_names: The model's ``condition_names``.

    Raises:
        DataError: As for `load`, or the file lacks columns of the model, or has other columns.
    """
    table, columns = _open_like(path, names, condition_names)
    return Data(*_take(table, *columns), tuple(names), tuple(condition_names))


def pieces_like(
    path: str | Path, *, names: Sequence[str], condition_names: Sequence[str] = ()
) -> Pieces:
    """As `load_like`, in pieces, so that the table may be larger than memory.

    Of .npy, .h5 and .parquet files only one piece is in memory at a time; of the last a flat copy
    is made in a temporary folder (``TMPDIR``), for every read decodes whole groups of rows.

    Args:
        path: As for `load`.
        names: The model's ``names``.
        condition_names: The model's ``condition_names``.

    Raises:
        DataError: As for `load_like`; for values that are not finite when their piece is wanted.
    """
    table, columns = _open_like(path, names, condition_names)
    size = min(max(NUMBERS // (len(names) + len(condition_names)), 1), ROWS)
    starts = range(0, table.rows, size)
    if table.row_groups and len(starts) > 1:
        table = flat_copy(table, columns)
    tables = (
        Data(
            *_take(table, *columns, slice(start, start + size)),
            tuple(names),
            tuple(condition_names),
        )
        for start in starts
    )
    return Pieces(len(starts), tables)


def choose_columns(
    table: Table, condition: Sequence[str], columns: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names of the columns of x, of the condition, and of the joint score if there is one."""
    choices = tuple(dict.fromkeys((*table.present, *table.groups)))
    check_present(table.source, _as_names(condition), choices, role="condition column")
    chosen = table.expand(_as_names(condition))
    if columns is None:
        names = tuple(name for name in table.names if name not in chosen)
    else:
        check_present(table.source, _as_names(columns), choices)
        names = table.expand(_as_names(columns))
        both = [name for name in names if name in chosen]
        if both:
            raise DataError(
                f"{table.source}: expected a column as part of x or as condition; "
                f"got {listed(both)} as both."
            )
    if not names or not table.rows:
        what = "no rows" if names else "no columns for x"
        raise DataError(f"{table.source}: expected a table with rows and columns; got {what}.")
    score = table.groups.get("joint_score", ())
    known = chosen and len(score) == len(chosen) and score != chosen
    return names, chosen, score if known else ()


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names as a tuple; one string is one name, not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def _take(
    table: Table, names: Sequence[str], chosen: Sequence[str], rows: slice = slice(0, None)
) -> tuple[np.ndarray, np.ndarray | None]:
    """Take finite rows of the columns of x and of the condition."""

    def finite(columns: Sequence[str]) -> np.ndarray:
        array = table.take(columns, rows)
        check_finite(table.source, array, columns, rows_before=rows.start)
        return array

    return finite(names), finite(chosen) if chosen else None


def _open_like(
    path: str | Path, names: Sequence[str], condition_names: Sequence[str]
) -> tuple[Table, tuple[tuple[str, ...], tuple[str, ...]]]:
    """A table, and the names that its columns of x and of the condition have in the file."""
    table = read_table(path)
    columns = _matching(table, tuple(names), tuple(condition_names))
    if not table.rows:
        raise DataError(f"{table.source}: expected a table with rows; got none.")
    return table, columns


def _matching(
    table: Table, names: tuple[str, ...], chosen: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the columns of the file that a model's names stand for: for x, for the condition."""
    present = table.present
    check_present(table.source, chosen, present, role="condition column")
    anonymous = all(name == f"x{name[1:]}" and name[1:].isdigit() for name in names)
    if table.named and (not anonymous or all(name in present for name in names)):
        check_present(table.source, names, present)
        return names, chosen
    others = tuple(name for name in table.names if name not in chosen)
    if len(others) == len(names):
        return others, chosen
    surplus = [name for name in others if name not in names]
    if len(others) - len(surplus) == len(names) and table.rows > 1:
        flat = constant_columns(table.take(surplus))
        if flat.all():  # the columns that drop_constant left out when the model was fitted
            return names, chosen
    raise DataError(
        f"{table.source}: expected {len(names)} columns for this model ({listed(names)}); "
        f"got {len(others)} ({listed(others)}). Is a condition or index column still among them?"
    )
