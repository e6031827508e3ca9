"""`Data`: points, the condition of each, and the names of both."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from mflows.data.checks import DataError, check_finite, listed


def column_names(prefix: str, count: int) -> tuple[str, ...]:
    """``x0, x1, ...``: names of columns that have none."""
    return tuple(f"{prefix}{i}" for i in range(count))


def as_float(array: Any) -> np.ndarray:
    """Convert half and single precision to float32, every other real number to float64."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise DataError(f"Expected an array of numbers; got dtype {array.dtype}.")
    half_or_single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    return array.astype(np.float32 if half_or_single else np.float64, copy=False)


def _matrix(name: str, array: Any, names: tuple[str, ...], prefix: str):
    """Check and return an (N, C) float array and its C names."""
    array = as_float(array)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(
            f"Expected {name} of shape (rows, columns), neither of them 0; got {array.shape}."
            + (" Is an axis of length 1 missing?" if array.ndim == 1 else "")
        )
    names = tuple(str(n) for n in names) or column_names(prefix, array.shape[1])
    if len(names) != array.shape[1]:
        raise DataError(
            f"Expected one name for each of the {array.shape[1]} columns of {name}; "
            f"got {len(names)}: {listed(names)}."
        )
    check_finite(name, array, names)
    return array, names


class Split(NamedTuple):
    """Two disjoint parts of a `Data`."""

    kept: "Data"
    held_out: "Data"


@dataclass(frozen=True, eq=False)
class Data:
    """N points in R^D, in the user's units, with an optional condition for each.

    The constructor converts other numbers to float64 and raises `DataError` for wrong shapes, for
    names that do not fit and for values that are not finite.

    Args:
        x: Points, float array of shape (N, D).
        condition: Conditions (theta), float array of shape (N, C), or None.
        names: Names of the D columns of ``x``; by default x0, x1, ...
        condition_names: Names of the C columns of ``condition``; by default theta0, theta1, ...
        joint_score: What a simulator knows of each point, grad_theta log p(x, z | theta) with its
            latent variables z, float array of shape (N, C), or None.
    """

    x: np.ndarray
    condition: np.ndarray | None = None
    names: tuple[str, ...] = ()
    condition_names: tuple[str, ...] = ()
    joint_score: np.ndarray | None = None

    def __post_init__(self):
        x, names = _matrix("x", self.x, self.names, "x")
        condition, condition_names = self.condition, tuple(self.condition_names)
        if condition is not None:
            condition, condition_names = _matrix("condition", condition, condition_names, "theta")
            if len(condition) != len(x):
                raise DataError(
                    f"Expected one condition for each of the {len(x)} rows of x; "
                    f"got {len(condition)}."
                )
        elif condition_names:
            raise DataError(
                f"Expected no condition_names without a condition; got {listed(condition_names)}."
            )
        joint_score = self.joint_score
        if joint_score is not None:
            joint_score = as_float(joint_score)
            expected = None if condition is None else condition.shape
            if joint_score.shape != expected:
                raise DataError(
                    f"Expected a joint score of the shape of the condition, {expected}; got "
                    f"{joint_score.shape}."
                )
            check_finite("joint_score", joint_score, condition_names)
        every = names + condition_names
        repeated = [name for name, times in Counter(every).items() if times > 1]
        if repeated:
            raise DataError(f"Expected every column once; got twice or more: {listed(repeated)}.")
        fields = {"x": x, "condition": condition, "names": names, "joint_score": joint_score}
        for field, value in {**fields, "condition_names": condition_names}.items():
            object.__setattr__(self, field, value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point, (D,)."""
        return self.x.shape[1:]

    @property
    def cond_shape(self) -> tuple[int, ...] | None:
        """Shape of one condition, (C,), or None."""
        return None if self.condition is None else self.condition.shape[1:]

    @property
    def scored(self) -> bool:
        """Whether there is a joint score."""
        return self.joint_score is not None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> Self:
        """Take rows (an integer, slice, mask or array of integers), still a `Data`."""
        if isinstance(rows, int | np.integer):
            rows = [rows]
        condition, joint_score = (
            None if array is None else array[rows] for array in (self.condition, self.joint_score)
        )
        return type(self)(self.x[rows], condition, self.names, self.condition_names, joint_score)

    def sample(self, count: int, seed: int) -> Self:
        """At most so many rows, at random."""
        return self[np.random.default_rng(seed).permutation(len(self))[:count]]

    def split(self, fraction: float, seed: int) -> Split:
        """Hold out a random ``fraction`` of the rows, the same ones for the same seed.

        Both parts keep at least one row; rows keep their order within each part.
        """
        if not 0 < fraction < 1 or len(self) < 2:
            raise DataError(
                f"Expected a fraction between 0 and 1 and at least two rows to split; "
                f"got fraction {fraction} and {len(self)} rows."
            )
        count = min(max(round(fraction * len(self)), 1), len(self) - 1)
        held_out = np.zeros(len(self), dtype=bool)
        held_out[np.random.default_rng(seed).permutation(len(self))[:count]] = True
        return Split(kept=self[~held_out], held_out=self[held_out])
