"""What a fit is judged by: numbers of a flow at points of its data, and how it was trained.

Small frozen records that check their shapes when they are made. Values that are not finite are
kept: they are a fact about the fit.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mflows.conditions import OutsideTraining
from mflows.data import Data
from mflows.flow import Flow
from mflows.volume import condition_limit

JUDGED = 2000
"""Rows of the training data by which a fit is judged, at most."""


@dataclass(frozen=True)
class Points:
    """Data points as the model sees them.

    Args:
        x: The points, shape ``(N, *shape)``, in the data's own units: rows of a table of shape
            ``(N, D)``, or images of shape ``(N, H, W, C)``.
        log_prob: Log density at the projection of each point, shape ``(N,)``; ``None`` for a
            model without a density.
        distance: Reconstruction error of each point, shape ``(N,)``; ``None`` for a model without
            a manifold, whose density is one in space.

    Raises:
        ValueError: If there are no points, or the shapes do not agree.
    """

    x: np.ndarray
    log_prob: np.ndarray | None = None
    distance: np.ndarray | None = None

    def __post_init__(self):
        x = as_rows(self, "x")
        for name in ("log_prob", "distance"):
            if getattr(self, name) is not None:
                set_array(self, name, (x.shape[0],))


@dataclass(frozen=True)
class Conditioning:
    """How far log densities can be trusted, point by point.

    Args:
        numbers: Condition numbers of the decoder's Jacobian, shape ``(N,)``.
        limit: Where log densities come into doubt.

    Raises:
        ValueError: If there are no points, or the shape is another.
    """

    numbers: np.ndarray
    limit: float

    def __post_init__(self):
        numbers = np.asarray(self.numbers, dtype=float)
        if numbers.ndim != 1 or not len(numbers):
            raise ValueError(
                "Expected numbers of a Conditioning of shape (N,), one for each of N >= 1 points; "
                f"got {numbers.shape}."
            )
        object.__setattr__(self, "numbers", numbers)

    @property
    def doubtful(self) -> np.ndarray:
        """Which points are ill-conditioned, shape ``(N,)``; those without a number are."""
        return ~(self.numbers < self.limit)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What checks look at; what is missing is not judged.

    Args:
        history: One mapping per epoch with ``phase`` and ``epoch``, and any of ``train``,
            ``validation`` and ``seconds``.
        notes: What was decided about the start of training, and why.
        rows: Number of points the model was fitted to.
        latent_dim: Dimension of its manifold, ``None`` without one.
        train: Points the model was fitted to.
        held_out: Points it has not seen.
        conditioning: Condition numbers at held-out points; ``None`` for a model without a density
            or with one that takes no Jacobian.
        samples: Draws from the model, shape ``(M, *shape)``.
        latent: Latent coordinates of ``held_out``, shape ``(N, n)``.
        views: Learned and true manifold, with ``model`` and ``truth``.
    """

    history: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    rows: int | None = None
    latent_dim: int | None = None
    train: Points | None = None
    held_out: Points | None = None
    conditioning: Conditioning | None = None
    samples: np.ndarray | None = None
    latent: np.ndarray | None = None
    views: Sequence[Any] = ()


def some(data: Data) -> Data:
    """Rows to judge by, in memory."""
    few = len(data) <= JUDGED and not data.mapped and data.weight is None
    return data if few else data.sample(JUDGED, 0)


def evidence(flow: Flow, train: Data, held_out: Data | None, **known: Any) -> Evidence:
    """Evaluate a flow at rows that lie in memory; ``known`` are further fields."""
    n = None if flow.is_ambient else flow.latent_dim
    return Evidence(latent_dim=n, **at_points(flow, train, held_out), **known)


def at_points(flow: Flow, train: Data, held_out: Data | None) -> dict[str, Any]:
    """What an `Evidence` says of points: log density, distance, conditioning of the held-out ones.

    All are evaluated together, by one compiled program.
    """
    parts = [train] if held_out is None else [train, held_out]
    x = np.concatenate([part.x for part in parts])
    given = [part.condition for part in parts if part.condition is not None]
    condition = np.concatenate(given) if given else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutsideTraining)  # a held-out condition may be the largest
        if flow.has_density:
            log_prob, distance, numbers = flow.score(x, condition)
        else:
            log_prob, distance, numbers = None, flow.distance(x, condition), None
    found = log_prob, None if flow.is_ambient else distance, numbers
    fields, start = {}, 0
    for name, part in zip(("train", "held_out"), parts, strict=False):
        rows = slice(start, start := start + len(part))
        here = [None if values is None else np.asarray(values)[rows] for values in found]
        fields[name] = Points(part.x, *here[:2])
        if name == "held_out" and here[2] is not None:
            fields["conditioning"] = Conditioning(here[2], condition_limit(here[2].dtype))
    return fields


def as_rows(owner: Any, name: str, axes: int | None = None) -> np.ndarray:
    """Store field ``name`` as a float array of rows, each with some number of ``axes``."""
    a = np.asarray(getattr(owner, name), dtype=float)
    if a.ndim < 2 or axes not in (None, a.ndim - 1) or 0 in a.shape:
        raise ValueError(
            f"Expected {name} of a {type(owner).__name__} to have at least one row and one column; "
            f"got shape {a.shape}."
        )
    object.__setattr__(owner, name, a)
    return a


def set_array(owner: Any, name: str, shape: tuple[int, ...]):
    """Store field ``name`` as a float array of the given shape."""
    a = np.asarray(getattr(owner, name), dtype=float)
    if a.shape != shape:
        raise ValueError(
            f"Expected {name} of a {type(owner).__name__} of shape {shape} to go with x; "
            f"got {a.shape}."
        )
    object.__setattr__(owner, name, a)
