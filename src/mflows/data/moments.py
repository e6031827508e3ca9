"""Where columns lie and how far they spread, for data of which a few rows are far from all others.

Mean and standard deviation serve, unless a few rows make them: a sentinel such as -999, a slipped
decimal point, the tails of a Cauchy distribution. Such a column is centred on its median and scaled
by half the distance between its 16% and 84% quantiles, which is the standard deviation of a normal.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

FEW = 0.02
"""Part of the rows that are few, at least one."""
MOST = 0.5
"""Part of the variance from which on few rows make it."""
OUTLYING = 20.0
"""Distance from which on a row is far, in standard deviations of the bulk."""
LEAST_ROWS = 20
"""Of fewer rows all are few."""
MANY_COLUMNS = 1000
"""Columns from which on none is scaled by quantiles: features of networks are often near 0 but for
a few rows, and among so many columns one that a slip has spoiled does little harm."""
SEEN = 100_000
"""Rows on which this is judged, evenly from all, at most."""


class Moments(NamedTuple):
    """Centre and scale of every column, in double precision.

    Attributes:
        centre: The mean, or the median.
        scale: The standard deviation, or that of the bulk; 0 where nothing varies.
        dominated: Whether few rows make most of the variance of a column, which is then scaled by
            its quantiles.
    """

    centre: np.ndarray
    scale: np.ndarray
    dominated: np.ndarray

    def unit(self, dtype: Any) -> np.ndarray:
        """The scale, or 1 where what varies is not resolved by numbers of this type."""
        resolved = np.finfo(dtype)
        least = np.maximum(resolved.eps * np.abs(self.centre), resolved.tiny)
        return np.where(self.scale > least, self.scale, 1.0)


def moments(x: Float[np.ndarray, "N ..."]) -> Moments:
    """Centre and scale of the columns of a table (N, D).

    Of points of more axes, and of tables of ``MANY_COLUMNS``, always mean and standard deviation.
    """
    mean, scale = x.mean(0, dtype=np.float64), _deviation(x)
    dominated = np.zeros(mean.shape, dtype=bool)
    if x.ndim != 2 or len(x) < LEAST_ROWS or x.shape[1] >= MANY_COLUMNS:
        return Moments(mean, scale, dominated)
    for i, column in enumerate(x[:: -(-len(x) // SEEN)].T):
        column = column.astype(np.float64)
        middle = np.median(column)
        away = np.abs(column - middle)
        low, high = np.quantile(column, (0.1587, 0.8413))
        far = away > OUTLYING * (high - low) / 2
        if not 0 < far.sum() <= max(FEW * len(away), 1) or high == low:
            continue
        squares = (away / away.max()) ** 2
        if squares[far].sum() > MOST * squares.sum():
            mean[i], scale[i], dominated[i] = middle, (high - low) / 2, True
    return Moments(mean, scale, dominated)


def _deviation(x: np.ndarray) -> np.ndarray:
    """Standard deviations, of numbers whose squares double precision need not hold."""
    unit = np.maximum(np.abs(x.max(0)), np.abs(x.min(0))).astype(np.float64)
    unit = np.where(unit > 0, unit, 1.0)
    if (unit > 1e-140).all() and (unit < 1e140).all():
        return x.std(0, dtype=np.float64)
    return unit * (x / unit).std(0, dtype=np.float64)


def alike(*columns: np.ndarray | None) -> np.ndarray:
    """A number for each row, the same for equal rows of all arrays and different for others."""
    rng = np.random.default_rng(0)
    flat = [array.reshape(len(array), -1) for array in columns if array is not None]
    weights = [rng.normal(size=array.shape[1]) for array in flat]
    total = np.zeros(len(flat[0]))
    for start in range(0, len(total), SEEN):  # a copy of so many rows
        rows = slice(start, start + SEEN)
        for array, weight in zip(flat, weights, strict=True):
            total[rows] += (array[rows] * weight).sum(1)
    return total
