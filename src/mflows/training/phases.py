"""Phases: training as data. A recipe is a list of phases, and ``fit`` runs one after the other."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from jaxtyping import Array, PRNGKeyArray

from mflows.flow import Flow


class Batch(NamedTuple):
    """Points and their conditions, as objectives see them; the leading axis runs over points.

    ``joint_score`` has the shape of ``condition``, where a simulator knows it.
    """

    x: Array
    condition: Array | None
    joint_score: Array | None = None


class Supervised(NamedTuple):
    """Points with the latent coordinates they should have."""

    x: Array
    condition: Array | None
    u: Array


@dataclass(frozen=True)
class Phase:
    """One stretch of training with a fresh AdamW and a cosine decay of the learning rate to 0.

    With a ``tolerance`` the rate falls only once the validation loss has settled, and ``epochs`` is
    the most (``mflows.training.pace``).

    Args:
        objective: ``(flow, batch, key) -> scalar`` to minimise. It may have a method
            ``prepare(flow, batch) -> batch``, applied once to all data before the phase;
            ``opponent(key, flow) -> network``, which makes it ``(flow, batch, key, network)``, a
            game: the network maximises; ``validate(flow, batch, key) -> scalar``, by which epochs
            are judged in place of the objective. An attribute ``needs_joint_score`` that is true
            says that the data must have one; ``centred`` that it asks only for differences of
            points, so that flow and points may both be given to it less the mean of the data.
        trains: Which parts of the flow train, of ``"chart"`` and ``"latent"``. All else is frozen
            structurally: the optimiser never sees it.
        epochs: Passes over the training data.
        name: Name in progress, history and errors.
        batch_size: Points per step; the last, smaller batch of an epoch is dropped.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay of AdamW.
        momentum: AdamW's decay rate of the mean gradient.
        clip: Gradients are scaled down to this global norm.
        patience: Stop after so many epochs without a better validation loss; ``None`` never. Not
            asked for with a tolerance.
        tolerance: By how much the validation loss has to improve, in 300 steps and at least five
            epochs, not to count as settled; 0 trains for all epochs.
        start: ``(key, flow, batch) -> flow``, run once on the training data before the phase,
            where phases alternate before its first round.
    """

    objective: Callable
    trains: tuple[str, ...]
    epochs: int
    name: str = "training"
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    clip: float = 1.0
    patience: int | None = None
    tolerance: float = 0.0
    start: Callable[[PRNGKeyArray, Flow, Batch], Flow] | None = None

    def __post_init__(self):
        unknown = set(self.trains) - {"chart", "latent"}
        if unknown or not self.trains:
            raise ValueError(
                f"Expected `trains` to name 'chart', 'latent' or both; got {self.trains}."
            )
        for field in ("epochs", "batch_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"Expected {field} >= 1; got {getattr(self, field)}.")
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(f"Expected a finite tolerance >= 0; got {self.tolerance}.")
        for field in ("learning_rate", "clip"):
            if not getattr(self, field) > 0 or math.isinf(getattr(self, field)):
                raise ValueError(f"Expected {field} > 0; got {getattr(self, field)}.")


@dataclass(frozen=True)
class Alternate:
    """Phases taken in turn, each for its ``epochs``, ``rounds`` times over.

    Optimiser states and learning-rate schedules run on from round to round.
    """

    phases: tuple[Phase, ...]
    rounds: int

    def __post_init__(self):
        object.__setattr__(self, "phases", tuple(self.phases))
        if self.rounds < 1 or not self.phases:
            raise ValueError("Expected at least one phase and one round to alternate.")


@dataclass(frozen=True)
class Either:
    """Phases of which the data decide one.

    In the numbering of a recipe, from which random keys and checkpoints are made, every one of the
    phases counts. Their own ``start`` is not run: the choice starts the phase that it makes.

    Args:
        phases: The phases.
        choose: ``(keys, flow, batch) -> (index, flow)``, run once on the training data, with a
            random key for each phase: which one it is, and the flow that it starts from.
    """

    phases: tuple[Phase, ...]
    choose: Callable[[Sequence[PRNGKeyArray], Flow, Batch], tuple[int, Flow]]
    rounds: ClassVar[int] = 1

    def __post_init__(self):
        object.__setattr__(self, "phases", tuple(self.phases))
        if not self.phases:
            raise ValueError("Expected at least one phase to choose from.")


Group = Phase | Alternate | Either
"""An entry of a recipe."""


def phases_of(group: Group) -> tuple[Phase, ...]:
    """The phases of an entry of a recipe."""
    return (group,) if isinstance(group, Phase) else group.phases
