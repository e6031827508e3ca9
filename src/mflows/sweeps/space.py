"""What is searched: ranges of numbers, and choices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Value = bool | int | float | str


@dataclass(frozen=True)
class Range:
    """All numbers from ``low`` to ``high``: whole ones if both ends are whole numbers.

    Args:
        low: Least value.
        high: Greatest value.
        log: Search the logarithm evenly; for positive numbers.

    Raises:
        ValueError: If the ends are in the wrong order, or have no logarithm.
    """

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError(f"Expected a range from low to high; got {self.low}..{self.high}.")
        if self.log and not self.low > 0:
            raise ValueError(f"Expected a range above 0 for its logarithm; got {self.low}.")

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check: if both ends are allowed, so is what lies between."""
        return (self.low, self.high)

    @property
    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return f"{self.low}..{self.high}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Raises:
        ValueError: If there are fewer than two, or one comes twice.
    """

    values: tuple[Value, ...]

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(self.values))
        if len(self.values) < 2 or len(set(self.values)) < len(self.values):
            raise ValueError(f"Expected two or more different values to choose from; got {self}.")

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check: all of them."""
        return self.values

    @property
    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        return CategoricalDistribution(self.values)

    def __str__(self) -> str:
        return "|".join(map(str, self.values))


def as_plain(space: Range | Choice) -> Any:
    """What stands for it in ``sweep.json``."""
    if isinstance(space, Choice):
        return list(space.values)
    return {"low": space.low, "high": space.high, "log": space.log}


def from_plain(plain: list | Mapping[str, Any]) -> Range | Choice:
    """The inverse of ``as_plain``."""
    return Choice(tuple(plain)) if isinstance(plain, list) else Range(**plain)
