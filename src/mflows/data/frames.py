"""Frames of Polars, from .csv and .parquet files, and their columns as numbers.

A csv file may be separated by comma, semicolon or tab, and may lack the header line.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mflows.data.checks import DataError, listed, plural
from mflows.data.data import column_names

MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None"]


def open_csv(path: Path) -> tuple[Any, bool]:
    """The frame of a csv file, and whether the file names its columns.

    The header line, the separator and an index column are recognised.
    """
    import polars as pl

    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
    if not first.strip():
        raise DataError(f"{path.name}: expected a table; got an empty file or first line.")
    separator = max(",;\t", key=first.count)
    header = [cell.strip() for cell in next(csv.reader([first], delimiter=separator))]
    header[0] = header[0].lstrip("# ")
    named = not _is_data(header)
    repeated = sorted({name for name in header if header.count(name) > 1}) if named else []
    if repeated:
        raise DataError(
            f"{path.name}: expected every column once; got twice or more: {listed(repeated)}."
        )
    frame = pl.read_csv(
        path,
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
    frame.columns = header if named else list(column_names("x", len(header)))
    if frame.width > 1:  # empty lines at the end of the file
        empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
        frame = frame.head(len(empty) - int(np.argmin(empty[::-1])))
    if named and header[0] == "" and frame.height:
        index = frame.to_series(0)
        if index.dtype.is_integer() and (index == pl.arange(frame.height, eager=True)).all():
            frame = frame.drop("")  # the unnamed row index that pandas writes
    return frame.lazy(), named


def _is_data(cells: Sequence[str]) -> bool:
    """Tell whether a first line holds numbers, other than the column labels 0, 1, 2, ..."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return False
    return len(numbers) == 1 or list(cells) != list(map(str, range(len(numbers))))


def open_parquet(path: Path) -> Any:
    """The frame of a parquet file; its columns are read when they are asked for."""
    import polars as pl

    return pl.scan_parquet(path, glob=False)


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
        value = chosen.get_column(text[0]).drop_nulls()[0]
        raise DataError(
            f"{source}: expected numbers only; got {plural(text)} with text or other values "
            f"(such as {str(value)!r}). Remove these columns or turn them into numbers."
        )
    single = all(dtype == pl.Float32 for dtype in chosen.dtypes)
    chosen = chosen.cast(pl.Float32 if single else pl.Float64, strict=False)
    return chosen.to_numpy(order="c")


def _unpadded(series: Any) -> Any:
    """Turn text into numbers if only blanks around them made it text."""
    import polars as pl

    if series.dtype != pl.String:
        return series
    stripped = series.str.strip_chars()
    stripped = stripped.set(stripped.is_in(MISSING), None)
    numbers = stripped.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == stripped.null_count() else series
