"""Frames of Polars, from .csv and .parquet files, and their columns as numbers.

A csv file may be separated by comma, semicolon or tab, and may lack the header line. Row labels
that pandas and R write beside the data are no coordinates and are left out.
"""

import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mflows.data.checks import DataError, listed, plural
from mflows.data.data import column_names

PEEKED = 200
"""Lines after the first by which it is judged whether that one is a header."""
LABELS = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""Names under which pandas and R write row labels."""
MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None"]


def open_csv(path: Path) -> tuple[Any, bool]:
    """The frame of a csv file, and whether the file names its columns.

    The header line, the separator and an index column are recognised.
    """
    import polars as pl

    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first, *following = list(islice(file, 1 + PEEKED)) or [""]
    if not first.strip():
        raise DataError(f"{path.name}: expected a table; got an empty file or first line.")
    separator = max(",;\t", key=first.count)
    header = [cell.strip() for cell in next(csv.reader([first], delimiter=separator))]
    header[0] = header[0].lstrip("# ")
    named = _is_header(path.name, header, list(csv.reader(following, delimiter=separator)))
    repeated = sorted(n for n, times in Counter(header).items() if named and times > 1 and n)
    if repeated:
        raise DataError(
            f"{path.name}: expected every column once; got twice or more: {listed(repeated)}."
        )
    frame = pl.read_csv(
        _spelt(path),
        glob=False,
        separator=separator,
        has_header=False,
        skip_lines=int(named),
        infer_schema_length=None,
        null_values=MISSING,
        raise_if_empty=False,
    )
    if not frame.width:
        raise DataError(f"{path.name}: expected a table with rows; got a header line alone.")
    if frame.width != len(header):
        raise DataError(
            f"{path.name}: expected as many columns as the first line has ({len(header)}); "
            f"got rows of {frame.width}. Does every column have a name, and only one?"
        )
    if frame.width > 1:  # empty lines at the end of the file
        empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
        frame = frame.head(len(empty) - int(np.argmin(empty[::-1])))
    names = header if named else list(column_names("x", len(header)))
    kept = [i for i, name in enumerate(names) if not _are_labels(name, frame.to_series(i), i)]
    nameless = [i + 1 for i in kept if not names[i]]
    if nameless:
        raise DataError(
            f"{path.name}: expected a name for every column; got none for column {nameless[0]}, "
            "which holds no row labels. Name it in the first line."
        )
    frame = frame.select(pl.nth(kept))
    frame.columns = [names[i] for i in kept]
    return frame.lazy(), named


def _are_labels(name: str, column: Any, place: int) -> bool:
    """Tell row labels, or an empty column, from data: whole numbers or text, all different."""
    if not LABELS.fullmatch(name) or not len(column):
        return False
    if column.null_count() == len(column):
        return not name
    text = not column.dtype.is_numeric()
    whole = column.dtype.is_integer() and column.n_unique() == len(column)
    return (place == 0 or bool(name)) and (text or whole)


def _is_header(source: str, cells: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether a first line holds names rather than numbers of the table.

    Names may be numbers: the labels 0, 1, 2, ..., or wavelengths and years. They are told from data
    by lying outside of what follows in every column, or by being whole and equally spaced above
    fractions.
    """
    numbers = _floats(cells)
    if numbers is None:
        return True
    if len(numbers) > 1 and list(cells) == list(map(str, range(len(numbers)))):
        return True
    if len(set(cells)) < len(cells):
        return False
    following = [row for row in map(_floats, rows) if row is not None and len(row) == len(cells)]
    table = np.array([row for row in following if np.isfinite(row).all()])
    if len(table) < 3 or not np.isfinite(numbers).all():
        return False
    lowest, highest = table.min(0), table.max(0)
    room = np.maximum(highest - lowest, 1e-9 * np.abs(highest))
    outside = ((numbers < lowest - room) | (numbers > highest + room)).all()
    rising = (np.diff(numbers) > 0).all() or (np.diff(numbers) < 0).all()
    whole = (numbers == np.round(numbers)).all() and not (table == np.round(table)).all()
    stepping = whole and len(numbers) > 2 and _steps_alike(numbers)
    if not (rising and (outside or stepping)):
        return False
    warnings.warn(
        f"{source}: the first line, {listed(cells)}, is taken for the names of the columns: its "
        "numbers are unlike the rows below. If it is a row, write a line of names above it.",
        stacklevel=2,
    )
    return True


def _steps_alike(rows: np.ndarray) -> np.ndarray:
    """Which rows (..., k) are arithmetic sequences."""
    steps = np.diff(rows)
    return np.ptp(steps, axis=-1) <= 1e-9 * np.abs(rows).max(axis=-1)


def _floats(cells: Sequence[str]) -> np.ndarray | None:
    """Cells as numbers, missing ones as NaN; ``None`` if one is text."""
    try:
        return np.array([float("nan" if cell.strip() in MISSING else cell) for cell in cells])
    except ValueError:
        return None


def _spelt(path: Path) -> Path | io.BytesIO:
    """A path, or the content of a file whose name is not UTF-8, which Polars cannot open."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return io.BytesIO(path.read_bytes())
    return path


def open_parquet(path: Path) -> Any:
    """The frame of a parquet file; its columns are read when they are asked for."""
    import polars as pl

    frame = pl.scan_parquet(_spelt(path), glob=False)
    labels = [name for name in frame.collect_schema() if re.fullmatch(r"__index_level_\d+__", name)]
    return frame.drop(labels)


def columns_and_rows(frame: Any) -> tuple[tuple[str, ...], int]:
    """The names of the columns of a frame, and how many rows it has."""
    import polars as pl

    return tuple(frame.collect_schema()), frame.select(pl.len()).collect().item()


def numbers(source: str, frame: Any, columns: Sequence[int], start: int, stop: int) -> np.ndarray:
    """Rows of some columns as floats; by their places, for Polars takes some names for patterns."""
    import polars as pl

    part = frame.select(pl.nth(columns)).slice(start, stop - start).collect()
    chosen = part.select(_unpadded(series) for series in part)
    text = [
        series.name
        for series in chosen
        if not (series.dtype.is_numeric() or series.dtype == pl.Boolean)
        and series.null_count() < len(series)
    ]
    if text:
        row, value = _first_text(chosen.get_column(text[0]))
        raise DataError(
            f"{source}: expected numbers only; got {plural(text)} with text or other values "
            f"({value!r} in row {start + row + 1}). Remove these columns or turn them into numbers."
        )
    single = all(dtype == pl.Float32 for dtype in chosen.dtypes)
    chosen = chosen.cast(pl.Float32 if single else pl.Float64, strict=False)
    return chosen.to_numpy(order="c")


def _first_text(series: Any) -> tuple[int, str]:
    """The place and the text of the first value that is no number."""
    import polars as pl

    stripped = series.cast(pl.String, strict=False).str.strip_chars()
    bad = stripped.cast(pl.Float64, strict=False).is_null() & ~stripped.is_in(MISSING)
    bad = bad & stripped.is_not_null()
    row = int(bad.arg_max()) if bad.any() else int(series.is_not_null().arg_max())
    return row, str(series[row])


def _unpadded(series: Any) -> Any:
    """Turn text into numbers if only blanks around them made it text."""
    import polars as pl

    if series.dtype != pl.String:
        return series
    stripped = series.str.strip_chars()
    stripped = stripped.set(stripped.is_in(MISSING), None)
    numbers = stripped.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == stripped.null_count() else series
