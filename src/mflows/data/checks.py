"""Checks of tables, and the one exception they raise.

Every message is one line that says what was expected, what came and what to do. Rows are counted
from 1, the first row of data; columns are named.
"""

import difflib
import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mflows.data.data import Data

SHOWN = 8  # names listed in a message before "and 12 more"
MOST_PIXELS = 1024
"""Height and width of pictures, at most."""


class DataError(ValueError):
    """The data cannot be used; the message is one line that says why and what to do."""


def listed(names: Sequence[str]) -> str:
    """Join names: ``'a', 'b', 'c' and 4 more``."""
    shown = ", ".join(repr(str(name)) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def plural(names: Sequence[str]) -> str:
    """Join names: ``column 'a'`` or ``columns 'a', 'b'``."""
    return f"column{'s' if len(names) != 1 else ''} {listed(names)}"


def check_present(
    source: str, wanted: Sequence[str], present: Sequence[str], *, role: str = "column"
) -> None:
    """Raise unless every wanted name is present; suggest the closest names."""
    missing = [name for name in wanted if name not in present]
    if not missing:
        return
    close = {name: difflib.get_close_matches(name, present, n=1) for name in missing}
    hint = ", ".join(f"{best[0]!r} for {name!r}" for name, best in close.items() if best)
    raise DataError(
        f"{source}: expected {role}{'s' if len(missing) != 1 else ''} {listed(missing)}; "
        f"got {plural(present) if present else 'no columns'}."
        + (f" Did you mean {hint}?" if hint else "")
    )


def check_finite(
    source: str, array: np.ndarray, names: Sequence[str], *, rows_before: int = 0
) -> None:
    """Raise at the first value of an (N, *shape) array that is missing, NaN or infinite.

    ``names`` are those of the columns, or none. ``rows_before`` rows of the same array have been
    checked already.
    """
    bad = ~np.isfinite(array)
    if not bad.any():
        return
    row, *place = map(int, np.argwhere(bad)[0])
    value = array[row, *place]
    what = "NaN or a missing value" if np.isnan(value) else f"an infinite value ({value})"
    where = f"column {str(names[place[0]])!r}" if names else f"at {place}"
    raise DataError(
        f"{source}: expected finite numbers; got {what} in row {rows_before + row + 1}, {where} "
        f"({bad.sum()} in all, in {bad.reshape(len(bad), -1).any(axis=1).sum()} of "
        f"{len(array)} rows). Remove these rows or fill them in."
    )


def check_weight(weight: np.ndarray, source: str = "weight") -> None:
    """Raise unless weights, shape (N,), are numbers of at least 0 and some are above."""
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{source}: expected weights that are finite and not below 0; got {weight[row]} in row "
            f"{row + 1} ({bad.sum()} in all). Rows cannot be drawn a negative number of times: "
            "average weights over neighbouring rows until none is negative."
        )
    if not weight.any():
        raise DataError(f"{source}: expected weights of which some are above 0; all are 0.")


def equal_to(row: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Where an (N, *shape) array has the values of ``row``, shape (1, *shape)."""
    return np.equal(array, row)


def varying(names: Sequence[str], constant: np.ndarray) -> tuple[str, ...]:
    """The names of the columns that are not constant."""
    return tuple(name for name, flat in zip(names, constant, strict=True) if not flat)


def check_varied(source: str, rows: int, constant: np.ndarray, names: Sequence[str]) -> None:
    """Raise for fewer than two rows, for rows that are all equal and for constant columns.

    ``constant`` is a mask of the shape of a point. Without ``names``, as of images, numbers may be
    constant: a border is.
    """
    if rows < 2:
        raise DataError(
            f"{source}: expected at least two rows; got {'one row' if rows else 'no rows'}. "
            "Give more data."
        )
    if constant.all():
        raise DataError(
            f"{source}: expected rows that differ; all {rows} rows are equal. Is it the right file?"
        )
    if names and constant.any():
        which = varying(names, ~constant)
        raise DataError(
            f"{source}: expected columns that vary; got constant {plural(which)} "
            "(one value only). Drop them with drop_constant=True "
            "(command line: --drop-constant)."
        )


def check_size(size: int | None) -> None:
    """Raise ``ValueError`` for a height and width that pictures are not resized to."""
    if size is not None and not 1 <= size <= MOST_PIXELS:
        raise ValueError(
            f"Expected a size of pictures from 1 to {MOST_PIXELS:,} pixels; got {size}."
        )


def check_condition_varies(source: str, constant: np.ndarray, names: Sequence[str]) -> None:
    """Raise for constant columns of the condition."""
    if constant.any():
        raise DataError(
            f"{source}: expected a condition that varies; got constant "
            f"{plural(varying(names, ~constant))}. Leave them out of the condition."
        )


def check_latent_dim(data: "Data", latent_dim: Any) -> int:
    """Return ``latent_dim`` as an int; raise `DataError` unless it is 1, ..., D - 1.

    D is the product of the shape of a point.
    """
    dim = math.prod(data.shape)
    try:
        number = operator.index(latent_dim)
    except TypeError:
        raise DataError(f"Expected latent_dim to be a whole number; got {latent_dim!r}.") from None
    if 1 <= number < dim:
        return number
    if data.shape == (1,):
        raise DataError(
            f"Expected data of at least two columns for a manifold in them; got one column "
            f"({data.names[0]!r}) and latent_dim {number}. Use an ambient flow for one column."
        )
    what = "columns of the data" if data.names else f"numbers of a point of shape {data.shape}"
    raise DataError(
        f"Expected 1 <= latent_dim <= {dim - 1}, fewer than the {dim} {what}; "
        f"got {number}. For latent_dim = {dim} use an ambient flow."
    )
