r"""What a sweep minimises: numbers that mean the same in all of its trials.

A density on a learned manifold is a density with respect to volume on *that* manifold. Its
logarithm rises without limit as the manifold shrinks or leaves the data, so it says nothing when
trials with different manifolds are compared; neither does a reconstruction error when their
dimensions differ, since every dimension more lowers it. Hence

    log-prob   only where all trials have one space: all of R^D, or a prescribed manifold
    distance   only where all trials have one dimension
    mmd        everywhere: it compares samples with held-out points and asks for no density

Every trial of a sweep holds out the same rows, and is judged by them.

Pruning stops a trial whose best validation loss so far is above the median of what finished trials
had at the same epoch of the same phase. That asks for a phase whose loss tells how the objective
will end, and whose loss and number of epochs are the same in all trials: not where the search
changes a weight within that loss, or the length of the phase.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from optuna.pruners import BasePruner, MedianPruner, NopPruner

from mflows.data import Data
from mflows.metrics import mmd, reconstruction_error
from mflows.runs import Run
from mflows.systems import system
from mflows.training.objectives import (
    Adversarial,
    AnchoredReconstruction,
    NegativeLogLikelihood,
    NoisyLikelihood,
    Reconstruction,
    SinkhornDivergence,
)
from mflows.training.phases import Group, phases_of

STARTUP = 5
"""Trials that have to finish before any is pruned."""

_JUDGED, _COMPARED = 10_000, 5_000  # rows; every pair of those compared counts
_WARM_UP = 5  # one part in so many of a phase is too early to judge
_APART = 1_000_000  # Optuna counts steps: phases lie so many of them apart


class Objective(NamedTuple):
    """A number to minimise.

    Attributes:
        title: What it is, in words.
        measure: The number, of a trained run and held-out points.
        losses: Objectives of those phases whose validation loss tells how it will end.
    """

    title: str
    measure: Callable[[Run, Data], float]
    losses: tuple[type, ...]


def _distance(run: Run, held_out: Data) -> float:
    return reconstruction_error(run.flow, held_out[:_JUDGED])["reconstruction"]


def _negative_log_prob(run: Run, held_out: Data) -> float:
    return -float(run.score(held_out[:_JUDGED]).log_prob.mean())


def _mmd(run: Run, held_out: Data) -> float:
    """MMD^2 of samples and held-out points, of (x, theta) jointly where there is a condition.

    In units of the held-out points' standard deviations, so that all coordinates count alike. The
    random key is the run's seed: trials differ in their flows and in nothing else.
    """
    points, key = held_out[:_COMPARED], jr.key(run.config.seed)
    if run.flow.cond_shape is None:
        samples, given = run.flow.sample(key, (len(points),)), []
    else:
        theta = np.asarray(points.condition, dtype=float)
        samples, given = run.flow.sample(key, condition=jnp.asarray(theta)), [theta]
    reference, drawn = (
        np.concatenate([np.reshape(x, (len(points), -1)), *given], axis=1)
        for x in (points.x, samples)
    )
    scale = reference.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return mmd(drawn / scale, reference / scale)["mmd2"]


OBJECTIVES = {
    "distance": Objective(
        "mean reconstruction error of held-out rows",
        _distance,
        (Reconstruction, AnchoredReconstruction),
    ),
    "log-prob": Objective(
        "mean -log p of held-out rows (nats)",
        _negative_log_prob,
        (NegativeLogLikelihood, NoisyLikelihood),
    ),
    "mmd": Objective(
        "squared MMD of samples and held-out rows", _mmd, (SinkhornDivergence, Adversarial)
    ),
}


def objective_of(model: str) -> str:
    """The objective of a sweep over a model where none is asked for."""
    return "distance" if system(model).manifold == "learned" else "log-prob"


def check_objective(name: str, model: str, searched: set[str]) -> None:
    """Raise if the objective does not mean the same in all trials.

    Raises:
        ValueError: And say what to take instead.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"Expected an objective out of {', '.join(OBJECTIVES)}; got {name!r}.")
    manifold = system(model).manifold
    if name == "log-prob" and manifold == "learned":
        raise ValueError(
            f"Expected distance or mmd as the objective of {model!r}; got 'log-prob': every trial "
            "learns a manifold of its own, and densities on different manifolds cannot be compared."
        )
    if name == "log-prob" and "set.manifold" in searched:
        raise ValueError(
            "Expected mmd as the objective where set.manifold is searched; got 'log-prob': "
            "densities on different manifolds cannot be compared."
        )
    if name == "distance" and manifold == "none":
        raise ValueError(
            f"Expected log-prob or mmd as the objective of {model!r}; got 'distance', which is 0: "
            "its density is on all of space."
        )
    if name == "distance" and "latent_dim" in searched:
        raise ValueError(
            "Expected mmd as the objective where latent_dim is searched; got 'distance', which "
            "falls with every dimension more."
        )


@dataclass(frozen=True)
class Comparable:
    """The phases whose losses are compared, and their epochs; none if trials are not comparable.

    Attributes:
        epochs: Epochs by name of phase.
        why: Why nothing is compared, where nothing is.
    """

    epochs: Mapping[str, int]
    why: str = ""

    def step(self, row: Mapping) -> int | None:
        """Optuna's number for a row of the history; ``None`` if it is not compared."""
        epochs = self.epochs.get(row["phase"])
        if epochs is None or row["epoch"] * _WARM_UP <= epochs:
            return None
        return sorted(self.epochs).index(row["phase"]) * _APART + row["epoch"]

    def pruner(self) -> BasePruner:
        """The pruner that compares."""
        return MedianPruner(STARTUP, n_min_trials=STARTUP) if self.epochs else NopPruner()


def comparable(objective: str, trials: Sequence[Sequence[Group]]) -> Comparable:
    """What may be compared between trials with these phases, for an objective."""
    losses = OBJECTIVES[objective].losses
    found = [
        {
            (phase.name, phase.objective, phase.epochs * getattr(group, "rounds", 1))
            for group in phases
            for phase in phases_of(group)
            if isinstance(phase.objective, losses)
        }
        for phases in trials
    ]
    if not any(found):
        return Comparable({}, f"no phase of the recipe minimises what {objective} measures")
    if any(each != found[0] for each in found):
        return Comparable({}, "the search changes the loss, or the epochs of its phase")
    return Comparable({name: epochs for name, _, epochs in found[0]})
