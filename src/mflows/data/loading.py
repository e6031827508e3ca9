"""Load data: `load` or `stream` to fit a model to them, `load_like` for one that exists."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mflows.data.checks import (
    DataError,
    check_condition_varies,
    check_finite,
    check_present,
    check_varied,
    check_weight,
    equal_to,
    listed,
    varying,
)
from mflows.data.data import Data
from mflows.data.mapped import copied, stretches
from mflows.data.read import Table, read_table

STREAM_FORMATS = (".npy", ".h5", ".hdf5", ".parquet")
"""Files of which a part can be read without the rest; so can folders of pictures."""


def load(
    path: str | Path,
    *,
    condition: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    drop_constant: bool = False,
    weight: str | None = None,
    size: int | None = None,
) -> Data:
    """Load data to fit a model to, into memory.

    In ``.csv`` and ``.parquet`` files every column is a coordinate of x, except the condition. In
    ``.npz`` and ``.h5`` files x is the array ``x`` (or the only one of two axes or more), ``names``
    may name its columns, and any other array of N rows may serve as condition: an array ``theta``
    of shape (N,) as ``theta``, one of shape (N, C) as ``theta``, or ``theta0``, ``theta1``, ... in
    part. An array ``joint_score`` with as many columns as the condition is the joint score.
    Columns without names are x0, x1, ... The unnamed row index that pandas writes into csv files is
    left out. float32 stays float32, all other numbers become float64.

    An array x of more axes, such as images (N, H, W, C), has points of that shape instead of
    columns. Some of their numbers may be constant, as in a border. Such an array of uint8 holds
    pictures of 8-bit levels: level k is read as (k + 1/2) / 256, float32 (``from_levels``).

    A folder with pictures (.png, .jpg, .jpeg, .webp, .bmp; in folders within it, too) gives points
    (H, W, C) in the same unit, in the order of their paths, as text: cropped in the middle and
    resized, C = 1 if all are grey and else 3. A warning lists files that cannot be read; ``notes``
    of the data say what was done.

    Args:
        path: A .npy, .npz, .csv, .parquet, .h5 or .hdf5 file, or a folder of pictures. Pickled
            objects are never loaded.
        condition: Names of the columns that are the condition (theta) rather than part of x.
        columns: Names of the columns of x, in order; by default all but the condition.
        drop_constant: Leave out columns of x that hold one value only.
        weight: Name of the column or array of weights: how much each row counts. Rows of weight 0
            are left out. A warning tells of an array ``weight`` that is not asked for.
        size: Height and width of the pictures of a folder; by default those that all have one size
            of at most 64 pixels keep it, and others become 32 x 32.

    Raises:
        DataError: The file is missing, unreadable or of an unknown format; named columns are
            missing; there are text columns, values that are not finite, fewer than two rows, only
            equal rows, or constant columns; a folder has no picture that can be read, or one of
            more pixels than Pillow takes for harmless.
        ValueError: The size is not from 1 to 1,024.
    """
    table = read_table(path, size=size)
    return _load(table, condition, columns, drop_constant, weight, streamed=False)


def stream(
    path: str | Path,
    *,
    condition: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    drop_constant: bool = False,
    weight: str | None = None,
    size: int | None = None,
) -> Data:
    """Open data that may be larger than memory, to fit a model to them.

    As `load`, for .npy, .h5 and .parquet files, of which only some megabytes are in memory at a
    time. The whole file is read once, to check it; of a .parquet file a flat copy is made in a
    temporary folder (``TMPDIR``), for every read of it decodes whole groups of rows. Pictures of a
    folder are decoded there once, a byte for each number.

    Args:
        path: A .npy, .parquet, .h5 or .hdf5 file, or a folder of pictures.
        condition: As for `load`.
        columns: As for `load`.
        drop_constant: As for `load`.
        weight: Not for points that stay in their file.
        size: As for `load`.

    Raises:
        DataError: As for `load`, or the format cannot be read in pieces.
    """
    path = Path(path)
    if not _in_pieces(path):
        raise DataError(
            f"{path.name}: expected a file that can be read in pieces, "
            f"{', '.join(STREAM_FORMATS)}; got {path.suffix or 'no ending'!r}. Convert it, or load "
            "it into memory."
        )
    table = read_table(path, size=size)
    return _load(table, condition, columns, drop_constant, weight, streamed=True)


def load_like(
    path: str | Path,
    *,
    names: Sequence[str],
    condition_names: Sequence[str] = (),
    shape: tuple[int, ...] | None = None,
    stream: bool = False,
) -> Data:
    """Load data for a model that exists, with the columns that the model was fitted to.

    Columns are chosen by name when the file has names; others are left alone. A file without
    names must hold exactly the model's columns, in their order (or the table the model was fitted
    to: columns that were dropped as constant may still be there). One row is enough, and columns
    may be constant. Pictures of a folder are brought to the model's size; grey ones get three equal
    channels where the model's have three.

    Args:
        path: As for `load`.
        names: The model's ``names``; none if its points are no rows of a table.
        condition_names: The model's ``condition_names``.
        shape: Shape of the model's points; by default that of ``names``.
        stream: Leave the rows in their file where its format allows, as `stream` does.

    Raises:
        DataError: As for `load`, or the file lacks columns of the model, has other columns, or
            points of another shape.
    """
    names, condition_names = tuple(names), tuple(condition_names)
    shape = (len(names),) if shape is None else shape
    table = read_table(path, like=shape)
    if len(table.shape) != len(shape) or (not names and table.shape != shape):
        raise DataError(
            f"{table.source}: expected points of shape {shape} for this model; got {table.shape}."
        )
    columns, chosen = _matching(table, names, condition_names)
    if not table.rows:
        raise DataError(f"{table.source}: expected a table with rows; got none.")
    streamed = stream and _in_pieces(table.path)
    x, _ = _take(table, columns, streamed)
    theta = _take(table, chosen, streamed)[0] if chosen else None
    return Data(x, theta, names, condition_names, checked=True, notes=table.notes)


def _in_pieces(path: Path) -> bool:
    return path.suffix.lower() in STREAM_FORMATS or path.is_dir()


def _load(
    table: Table,
    condition: Sequence[str],
    columns: Sequence[str] | None,
    drop_constant: bool,
    weight: str | None,
    *,
    streamed: bool,
) -> Data:
    names, chosen, score_names, counts = _choose_columns(table, condition, columns, weight)
    x, constant = _take(table, names, streamed)
    if names and drop_constant and constant.any() and not constant.all():
        names = varying(names, constant)
        x, constant = _take(table, names, streamed)
    check_varied(table.source, table.rows, constant, names)
    theta = score = None
    if chosen:
        theta, constant = _take(table, chosen, streamed)
        check_condition_varies(table.source, constant, chosen)
    if score_names:
        score, _ = _take(table, score_names, streamed)
    if not counts:
        return Data(x, theta, names, chosen, score, checked=True, notes=table.notes)
    weights = np.ravel(_take(table, counts, streamed=False)[0])
    known = {"weight": weights, "notes": table.notes}
    data = Data(x, theta, names, chosen, score, checked=True, **known)
    check_weight(weights, table.source)
    return data if weights.all() else data[weights > 0]


def _take(table: Table, names: Sequence[str], streamed: bool) -> tuple[Any, np.ndarray]:
    """Columns in memory or left in their file, and a mask of the numbers that never vary.

    Raises:
        DataError: If a value is not finite.
    """
    array = table.columns(names)
    array = array[:] if not streamed else copied(array) if table.row_groups else array
    first, constant = array[:1], np.ones(array.shape[1:], dtype=bool)
    for start, stop in stretches(array):
        rows = array[start:stop]
        check_finite(table.source, rows, names, rows_before=start)
        constant &= equal_to(first, rows).all(axis=0)
    return array, constant


def _choose_columns(
    table: Table, condition: Sequence[str], columns: Sequence[str] | None, weight: str | None
) -> tuple[tuple[str, ...], ...]:
    """Names of the columns of x, of the condition, of the joint score and the weight if any."""
    choices = tuple(dict.fromkeys((*table.present, *table.groups)))
    check_present(table.source, _as_names(condition), choices, role="condition column")
    chosen = table.expand(_as_names(condition))
    counts: tuple[str, ...] = ()
    if weight is not None:
        check_present(table.source, (weight,), choices, role="column of weights")
        counts = table.expand((weight,))
        if len(counts) != 1 or counts[0] in (*chosen, *_as_names(columns or ())):
            raise DataError(
                f"{table.source}: expected one column of weights, no part of x or the condition; "
                f"got {listed(counts)}."
            )
    if columns is None:
        names = tuple(name for name in table.names if name not in (*chosen, *counts))
    else:
        check_present(table.source, _as_names(columns), choices)
        names = table.expand(_as_names(columns))
        both = [name for name in names if name in chosen]
        if both:
            raise DataError(
                f"{table.source}: expected a column as part of x or as condition; "
                f"got {listed(both)} as both."
            )
    columnless = not names and len(table.shape) == 1
    if columnless or not table.rows:
        what = "no columns for x" if columnless else "no rows"
        raise DataError(f"{table.source}: expected a table with rows and columns; got {what}.")
    score = table.groups.get("joint_score", ())
    known = chosen and len(score) == len(chosen) and score != chosen
    unused = {"weight", "weights"} & {*table.groups} - {*names, *chosen, *counts}
    if weight is None and unused:
        warnings.warn(
            f"{table.source} has an array {unused.pop()!r} that is not used: all rows count alike. "
            "Name it to let rows count by their weights (--weight on the command line).",
            stacklevel=5,
        )
    return names, chosen, score if known else (), counts


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names as a tuple; one string is one name, not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


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
    dropped = len(others) - len(surplus) == len(names) and table.rows > 1
    if dropped and _take(table, surplus, streamed=False)[1].all():
        return names, chosen  # the others were constant when the model was fitted, and still are
    raise DataError(
        f"{table.source}: expected {len(names)} columns for this model ({listed(names)}); "
        f"got {len(others)} ({listed(others)}). Is a condition or index column still among them?"
    )
