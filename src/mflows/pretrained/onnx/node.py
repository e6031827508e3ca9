"""A node of an ONNX graph, and the table of operators by which nodes are evaluated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

Value = jax.Array | np.ndarray
"""Numbers that depend on the latent vector or are weights, or numbers that are known beforehand."""


@dataclass(frozen=True, eq=False)
class Node:
    """An operator with its attributes, and the names of what goes in and comes out.

    Attributes:
        kind: Name of the operator.
        inputs: Names of its inputs; empty for one that is left out.
        outputs: Names of its outputs.
        attributes: Its attributes by name; arrays are NumPy arrays.
        opset: Version of the operators.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or what it is where it is left out."""
        return self.attributes.get(name, default)

    def refuse(self, **wanted: Any) -> None:
        """Raise ``ValueError`` for attributes with other values than those that are known here."""
        for name, known in wanted.items():
            if (got := self.get(name, known)) != known:
                raise ValueError(f"Expected {name} = {known!r}, which alone is known; got {got!r}.")


OPERATORS: dict[str, Callable[..., Any]] = {}
"""By name: functions of a node and its inputs, ``None`` for one that is left out."""


def operator(*kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function into the table under these names."""

    def known(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATORS.update(dict.fromkeys(kinds, function))
        return function

    return known


def integers(value: Value | None, what: str) -> tuple[int, ...] | None:
    """Whole numbers that have to be known before a program is compiled.

    Raises:
        ValueError: If they depend on the latent vector.
    """
    if value is None:
        return None
    if not isinstance(value, np.ndarray):
        raise ValueError(f"Expected {what} that do not depend on the latent vector.")
    return tuple(int(each) for each in np.atleast_1d(value))
