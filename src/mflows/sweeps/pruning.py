"""Which validation losses of trials may be compared, and from which epoch on.

A trial is stopped when its best loss so far is worse than the median of what finished trials had
at the same epoch of the same phase. That asks for a phase whose loss tells how the sweep's
objective will end, and whose loss and number of epochs are the same in all trials: not where the
search changes a weight within that loss, or the length of the phase.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.pruners import BasePruner, MedianPruner, NopPruner

from mflows.sweeps.objectives import OBJECTIVES
from mflows.training import Alternate, Phase

STARTUP = 5
"""Trials that have to finish before any is stopped."""

_WARM_UP = 5  # one part in so many of a phase is too early to judge
_APART = 1_000_000  # Optuna counts steps: phases lie so many of them apart


@dataclass(frozen=True)
class Compared:
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


def compared(objective: str, trials: Sequence[Sequence[Phase | Alternate]]) -> Compared:
    """What may be compared between trials with these phases, for an objective."""
    losses = OBJECTIVES[objective].losses
    found = [
        {
            (phase.name, phase.objective, phase.epochs * rounds)
            for group in phases
            for phase, rounds in _flat(group)
            if isinstance(phase.objective, losses)
        }
        for phases in trials
    ]
    if not any(found):
        return Compared({}, f"no phase of the recipe minimises what {objective} measures")
    if any(each != found[0] for each in found):
        return Compared({}, "the search changes the loss, or the epochs of its phase")
    return Compared({name: epochs for name, _, epochs in found[0]})


def _flat(group: Phase | Alternate) -> list[tuple[Phase, int]]:
    """Phases with the number of their rounds."""
    if isinstance(group, Alternate):
        return [(phase, group.rounds) for phase in group.phases]
    return [(group, 1)]
