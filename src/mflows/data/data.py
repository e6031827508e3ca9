"""`Data`: points, the condition of each, and the names of both; in memory or in their file."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from mflows.data.checks import DataError, check_finite, check_weight, listed
from mflows.data.mapped import NUMBERS, Array, Mapped, stretches
from mflows.data.moments import alike

ROWS = 100_000
"""Rows taken from a file into memory at a time, at most: enough to judge an epoch by."""


def column_names(prefix: str, count: int) -> tuple[str, ...]:
    """``x0, x1, ...``: names of columns that have none."""
    return tuple(f"{prefix}{i}" for i in range(count))


def as_float(array: Any) -> np.ndarray:
    """Convert half and single precision to float32, every other real number to float64.

    Masked values are missing ones, NaN.
    """
    if np.ma.is_masked(array):
        kind = np.result_type(array.dtype, np.float32)
        array = array.astype(kind).filled(np.nan)
    array = np.asarray(array)
    if array.dtype.kind == "O":
        return _of_objects(array)
    if array.dtype.kind not in "fiub":
        raise DataError(f"Expected an array of numbers; got dtype {array.dtype}.")
    half_or_single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return array.astype(np.float32 if half_or_single else np.float64, copy=False)


def _of_objects(array: np.ndarray) -> np.ndarray:
    """Numbers that came as objects, such as nullable columns; what is missing becomes NaN.

    Raises:
        DataError: At the first object that is no number.
    """
    found = np.empty(array.shape)
    for place in np.ndindex(array.shape):
        value = array[place]
        try:
            found[place] = np.nan if value is None or type(value).__name__ == "NAType" else value
        except (TypeError, ValueError):
            raise DataError(
                f"Expected numbers; got {value!r} in row {place[0] + 1}"
                + (f", column {place[1] + 1}" if len(place) > 1 else "")
                + ". Remove this column or turn it into numbers."
            ) from None
    return found


class Split(NamedTuple):
    """Two disjoint parts of a `Data`."""

    kept: "Data"
    held_out: "Data"


@dataclass(frozen=True, eq=False)
class Data:
    """N points in the user's units, with an optional condition for each.

    Points are the rows of a table, of shape (D,), or arrays of any other shape, such as images
    (H, W, C). They lie in memory, or stay in a file (``mapped``): then the arrays are `Mapped`,
    indexing reads rows into memory, `split` leaves the larger part in the file, and `pieces` goes
    through all of it.

    The constructor converts other numbers to float64 and raises `DataError` for wrong shapes, for
    names that do not fit and for values that are not finite.

    Args:
        x: Points, float array of shape (N, *shape).
        condition: Conditions (theta), float array of shape (N, C), or None.
        names: Names of the D columns of a table; by default x0, x1, ... Points of more than one
            axis have none.
        condition_names: Names of the C columns of ``condition``; by default theta0, theta1, ...
        joint_score: What a simulator knows of each point, grad_theta log p(x, z | theta) with its
            latent variables z, float array of shape (N, C), or None.
        weight: How much each point counts, float array of shape (N,), none below 0; or None, and
            all count alike. Only for data in memory.
        checked: The values are known to be finite and need not be looked at again.
        notes: What was done to the points on the way from their file, a sentence each.
    """

    x: np.ndarray
    condition: np.ndarray | None = None
    names: tuple[str, ...] = ()
    condition_names: tuple[str, ...] = ()
    joint_score: np.ndarray | None = None
    checked: InitVar[bool] = False
    weight: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self, checked: bool):
        x, condition, score, weight = (None if a is None else _floats(a) for a in self._arrays)
        assert x is not None
        names = _names("x", x, self.names, "x", flat=False)
        condition_names = tuple(map(str, self.condition_names))
        if condition is not None:
            condition_names = _names("condition", condition, condition_names, "theta", flat=True)
            if len(condition) != len(x):
                raise DataError(
                    f"Expected one condition for each of the {len(x)} rows of x; "
                    f"got {len(condition)}."
                )
        elif condition_names:
            raise DataError(
                f"Expected no condition_names without a condition; got {listed(condition_names)}."
            )
        expected = None if condition is None else condition.shape
        if score is not None and score.shape != expected:
            raise DataError(
                f"Expected a joint score of the shape of the condition, {expected}; got "
                f"{score.shape}."
            )
        repeated = [n for n, times in Counter(names + condition_names).items() if times > 1]
        if repeated:
            raise DataError(f"Expected every column once; got twice or more: {listed(repeated)}.")
        if not checked:
            _check_finite("x", x, names)
            _check_finite("condition", condition, condition_names)
            _check_finite("joint_score", score, condition_names)
        if weight is not None:
            if isinstance(weight, Mapped) or isinstance(x, Mapped):
                raise DataError(
                    "Expected points in memory, so that they can be drawn by their weights; got "
                    "points that stay in their file. Load them (--in-memory on the command line)."
                )
            if weight.shape != x.shape[:1]:
                raise DataError(
                    f"Expected a weight for each of the {len(x)} points, shape ({len(x)},); got "
                    f"{weight.shape}."
                )
            if not checked:
                check_weight(weight)
        fields = {"x": x, "condition": condition, "joint_score": score, "weight": weight}
        for field, value in {**fields, "names": names, "condition_names": condition_names}.items():
            object.__setattr__(self, field, value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point, such as (D,) or (H, W, C)."""
        return self.x.shape[1:]

    @property
    def cond_shape(self) -> tuple[int, ...] | None:
        """Shape of one condition, (C,), or None."""
        return None if self.condition is None else self.condition.shape[1:]

    @property
    def scored(self) -> bool:
        """Whether there is a joint score."""
        return self.joint_score is not None

    @property
    def effective_size(self) -> float:
        """Number of points of equal weight that tell as much, (sum w)^2 / sum w^2 (Kish 1965)."""
        if self.weight is None:
            return float(len(self))
        return float(self.weight.sum() ** 2 / np.square(self.weight).sum())

    @property
    def mapped(self) -> bool:
        """Whether the points are in a file rather than in memory."""
        return isinstance(self.x, Mapped)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> Self:
        """Rows (an integer, slice, mask or array of integers) as a `Data` in memory."""
        if isinstance(rows, int | np.integer):
            rows = [rows]
        return self._each(lambda array: array[rows])

    def pieces(self) -> Iterator[Self]:
        """Consecutive rows in memory, so few at a time that a file may be larger than memory."""
        few = self._few
        for start in range(0, len(self), few):
            yield self[start : start + few]

    def sample(self, count: int, seed: int) -> Self:
        """At most so many rows, at random, in memory; of a file no more than a piece.

        Of rows with weights, so many draws in proportion to these, which have none.
        """
        if self.weight is None:
            return self[self.random_rows(count, seed)]
        return self.unweighted(seed)[:count]

    def random_rows(self, count: int, seed: int) -> np.ndarray:
        """Indices of at most so many random rows, those of `sample` where there are no weights."""
        rng = np.random.default_rng(seed)
        if not self.mapped:
            return rng.permutation(len(self))[:count]
        count = min(count, len(self), self._few)
        return np.sort(rng.choice(len(self), count, replace=False, shuffle=False))

    def unweighted(self, seed: int) -> Self:
        """As many rows in random order, each as often as its weight says; itself without weights.

        Rows are drawn systematically: one with weight w is there N w / sum(w) times, rounded up or
        down.
        """
        if self.weight is None:
            return self
        drawn = self[by_weight(np.random.default_rng(seed), self.weight)]
        return replace(drawn, weight=None, checked=True)

    def split(self, fraction: float, seed: int) -> Split:
        """Hold out a random ``fraction`` of the rows, the same ones for the same seed.

        Both parts keep at least one row; rows keep their order within each part. Rows that are
        equal stay together: a row is not held out whose copy is trained on. Of a file the part
        held out is in memory, and therefore no more than a piece; the rest stays there. Rows with
        weights are held out as `unweighted` ones.
        """
        chosen = self._chosen(fraction, seed)
        out = np.union1d(chosen, self._copies(self[chosen])) if self.mapped else chosen
        return Split(kept=self.without(out), held_out=self[chosen].unweighted(seed))

    def held_out_rows(self, fraction: float, seed: int) -> np.ndarray:
        """Indices of the rows that `split` holds out, in the order of its ``held_out``."""
        chosen = self._chosen(fraction, seed)
        weight = None if self.weight is None else self.weight[chosen]
        return chosen if weight is None else chosen[by_weight(np.random.default_rng(seed), weight)]

    def without(self, rows: np.ndarray) -> Self:
        """All rows but those of these sorted indices; of a file nothing is read."""
        return self._each(lambda array: _without(array, rows))

    def distinct(self) -> float:
        """The part of the rows that differ, of 100,000 rows at most."""
        rows = self.sample(ROWS, 0) if len(self) > ROWS or self.mapped else self
        return len(np.unique(alike(rows.x, rows.condition))) / len(rows)

    def _chosen(self, fraction: float, seed: int) -> np.ndarray:
        """Sorted indices of random rows to hold out, of repeated rows in whole groups."""
        if not 0 < fraction < 1 or len(self) < 2:
            raise DataError(
                f"Expected a fraction between 0 and 1 and at least two rows to split; "
                f"got fraction {fraction} and {len(self)} rows."
            )
        count = min(max(round(fraction * len(self)), 1), len(self) - 1)
        chosen = self.random_rows(count, seed)
        if self.mapped:
            return chosen
        same = alike(self.x, self.condition)
        _, group, sizes = np.unique(same, return_inverse=True, return_counts=True)
        if len(sizes) in (1, len(self)):  # all are alike, or none
            return np.sort(chosen)
        taken, rows = np.zeros(len(sizes), dtype=bool), 0
        for each in dict.fromkeys(group[chosen]):  # in the random order
            if rows >= count or taken.sum() == len(sizes) - 1:
                break
            taken[each] = True
            rows += sizes[each]
        return np.flatnonzero(taken[group])

    def _copies(self, held_out: "Data") -> np.ndarray:
        """Rows of the file that equal rows held out, where there are such."""
        seen = alike(held_out.x, held_out.condition)
        if len(np.unique(seen)) == len(seen):
            return np.zeros(0, dtype=np.int64)
        found, start = [], 0
        for piece in self.pieces():
            found.append(start + np.flatnonzero(np.isin(alike(piece.x, piece.condition), seen)))
            start += len(piece)
        copies = np.concatenate(found)
        return copies if len(copies) < len(self) else np.zeros(0, dtype=np.int64)

    @property
    def _arrays(self) -> tuple[np.ndarray | None, ...]:
        return self.x, self.condition, self.joint_score, self.weight

    @property
    def _few(self) -> int:
        """Rows of a piece: a quarter of the numbers read at once, so that there is room to work."""
        width = sum(math.prod(array.shape[1:]) for array in self._arrays if array is not None)
        return max(min(ROWS, NUMBERS // 4 // width), 1)

    def _each(self, function: Callable[[Any], Any]) -> Self:
        """The same of other arrays, whose values are known."""
        x, condition, score, weight = (None if a is None else function(a) for a in self._arrays)
        columns = self.names, self.condition_names
        assert x is not None
        known = {"weight": weight, "notes": self.notes}
        return type(self)(x, condition, *columns, score, checked=True, **known)


def by_weight(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """Indices of N rows in random order, each as often as its weight says: systematic draws."""
    steps = np.cumsum(weight, dtype=np.float64)
    steps *= len(weight) / steps[-1]
    at = np.searchsorted(steps, rng.uniform() + np.arange(len(weight)), side="right")
    return rng.permutation(np.minimum(at, np.flatnonzero(weight)[-1]))


def _floats(array: Any) -> Any:
    return array if isinstance(array, Mapped) else as_float(array)


def _names(
    what: str, array: Array, names: tuple[str, ...], prefix: str, *, flat: bool
) -> tuple[str, ...]:
    """The names of the columns of an (N, C) array; points of more axes, unless ``flat``, have none.

    Raises:
        DataError: If the shape is none of these, or names do not fit.
    """
    names = tuple(map(str, names))
    if array.ndim < 2 or 0 in array.shape or (flat and array.ndim > 2):
        shape = "(rows, columns)" if flat else "(rows, columns) or (rows, *shape of a point)"
        raise DataError(
            f"Expected {what} of shape {shape}, none of them 0; got {array.shape}."
            + (" Is an axis of length 1 missing?" if array.ndim == 1 else "")
        )
    if array.ndim > 2:
        if names:
            raise DataError(
                f"Expected no names for points of shape {array.shape[1:]}, which have no columns; "
                f"got {len(names)}: {listed(names)}."
            )
        return ()
    names = names or column_names(prefix, array.shape[1])
    if len(names) != array.shape[1]:
        raise DataError(
            f"Expected one name for each of the {array.shape[1]} columns of {what}; "
            f"got {len(names)}: {listed(names)}."
        )
    return names


def _check_finite(what: str, array: Array | None, names: tuple[str, ...]) -> None:
    if array is None:
        return
    for start, stop in stretches(array):
        check_finite(what, array[start:stop], names, rows_before=start)


def _without(array: Array, rows: np.ndarray) -> Array:
    return array.without(rows) if isinstance(array, Mapped) else np.delete(array, rows, axis=0)
