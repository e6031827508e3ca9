r"""Conditions theta in a flow's own coordinates: centred and scaled by those of the training data.

Networks want numbers of order 1. A year, a POSIX time or a strength of 1e-9 is none, and a
conditioner network that is given one learns nothing or cannot be inverted any more. So a flow keeps
a placement of its conditions, as its chart keeps one of its points; its parts see

    theta' = (theta - mean) / scale

and all public numbers, scores d log p / d theta included, are those of theta.
"""

import warnings
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike, Float
from paramax import NonTrainable, unwrap

from mflows.data.moments import moments
from mflows.layers.placement import Placement, numbers, plain

UNIFORM = 3**0.5
"""What conditions are scaled by, in standard deviations: a uniform prior becomes [-1, 1]."""
MARGIN = 0.01
"""Part of the range of training by which conditions may exceed it without a word."""


class OutsideTraining(UserWarning):
    """Conditions outside the range that the flow was trained on: its answers are extrapolated."""


class Conditions(eqx.Module):
    """The placement of the conditions, and the range that training has seen.

    Args:
        placement: theta = mean + scale * theta'.
        lowest: The least theta' of training, of the shape of a condition; ``-inf`` if not known.
        highest: The largest one.
    """

    placement: Placement
    lowest: Any  # NonTrainable arrays; the arrays themselves in methods
    highest: Any

    def __init__(self, placement: Placement, lowest: ArrayLike, highest: ArrayLike):
        self.placement = placement
        self.lowest, self.highest = (
            NonTrainable(jnp.asarray(bound, dtype=float)) for bound in (lowest, highest)
        )

    @classmethod
    def identity(cls, shape: tuple[int, ...]) -> "Conditions":
        """Conditions taken as they are, of any size."""
        return cls(Placement.identity(shape), np.full(shape, -np.inf), np.full(shape, np.inf))

    @classmethod
    def of(cls, theta: Float[np.ndarray, "N C"]) -> "Conditions":
        """The placement of these conditions, by ``mflows.data.moments``, and their range."""
        theta = np.asarray(theta, dtype=np.float64)
        centre, scale, _ = moments(theta)
        scale = np.where(scale > 0, UNIFORM * scale, 1.0)
        bounds = ((bound(0) - centre) / scale for bound in (theta.min, theta.max))
        return cls(Placement(centre, scale), *bounds)

    def widened(self, seen: "Conditions") -> "Conditions":
        """The same placement, with the range of other conditions as well."""
        lowest, highest = (self.own(bound) for bound in seen.range)
        return Conditions(
            self.placement,
            np.minimum(lowest, numbers(self.lowest)),
            np.maximum(highest, numbers(self.highest)),
        )

    @property
    def known(self) -> bool:
        """Whether they have been placed on data."""
        return bool(np.isfinite(numbers(self.lowest)).all())

    @property
    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest theta of training."""
        centre, scale = self.placement.centre, numbers(self.placement.scale)
        lowest, highest = (centre + scale * numbers(end) for end in (self.lowest, self.highest))
        return lowest, highest

    def own(self, theta: ArrayLike) -> Any:
        """Conditions (..., C) as theta': in double precision, unless the caller compiles."""
        if isinstance(theta, Tracer) or isinstance(plain(self.placement.mean), Tracer):
            placement = unwrap(self.placement)
            return ((theta - placement.mean) - placement.remainder) / placement.scale
        theta = np.asarray(theta, dtype=np.float64)
        return (theta - self.placement.centre) / numbers(self.placement.scale)

    def check(self, own: np.ndarray) -> None:
        """Warn of conditions theta' (..., C) outside the range of training."""
        lowest, highest = numbers(self.lowest), numbers(self.highest)
        if not own.size or not self.known:
            return
        axes = tuple(range(own.ndim - lowest.ndim))
        least, most, room = own.min(axes), own.max(axes), MARGIN * (highest - lowest)
        outside = (least < lowest - room) | (most > highest + room)
        if not outside.any():
            return
        centre, scale = self.placement.centre, numbers(self.placement.scale)
        seen, given = self.range, [centre + scale * bound for bound in (least, most)]
        parts = [
            f"condition[{', '.join(map(str, i))}] from {given[0][tuple(i)]:.6g} to "
            f"{given[1][tuple(i)]:.6g}, where training had {seen[0][tuple(i)]:.6g} to "
            f"{seen[1][tuple(i)]:.6g}"
            for i in np.argwhere(outside)[:4]
        ]
        warnings.warn(
            f"Conditions outside the range of training: {'; '.join(parts)}. The flow has learned "
            "nothing there; its samples and densities are extrapolated.",
            OutsideTraining,
            stacklevel=5,
        )
