"""What a sweep has found so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from mflows.runs import Config
from mflows.sweeps.desk import number_of, read_sweep, run_folder
from mflows.sweeps.plan import Plan
from mflows.sweeps.space import Value
from mflows.sweeps.storage import locked, open_study

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: Its number.
        folder: Its run.
        state: ``finished``, ``pruned``, ``diverged``, ``failed``, ``running`` or ``waiting``.
        values: What was searched, by name.
        value: The objective, of a finished trial.
        seconds: How long its last worker took.
    """

    number: int
    folder: Path
    state: str
    values: Mapping[str, Value]
    value: float | None
    seconds: float | None


@dataclass(frozen=True)
class Sweep:
    """A sweep and its trials.

    Attributes:
        folder: Where it lies.
        plan: What it does.
        trials: In the order of their numbers.
    """

    folder: Path
    plan: Plan
    trials: list[Trial]

    @property
    def finished(self) -> list[Trial]:
        """Trials with a value, the best first."""
        found = [trial for trial in self.trials if trial.value is not None]
        return sorted(found, key=lambda trial: trial.value or 0.0)

    @property
    def best(self) -> Trial:
        """The trial with the least value.

        Raises:
            ValueError: If no trial has finished.
        """
        if not self.finished:
            raise ValueError(f"No trial of {self.folder} has finished yet: there is no best one.")
        return self.finished[0]

    @property
    def best_config(self) -> Config:
        """The config of the best trial."""
        return self.plan.at(self.best.values)


def read_plan(folder: str | Path) -> Plan:
    """The plan of a sweep.

    Raises:
        LoadError: If there is none, or it is damaged.
    """
    return read_sweep(Path(folder))[0]


def open_sweep(folder: str | Path) -> Sweep:
    """Read what a sweep has found so far; others may go on with it meanwhile.

    Raises:
        LoadError: If there is none, or it is damaged.
    """
    folder = Path(folder)
    plan, _, name = read_sweep(folder)
    with locked(folder):
        found = open_study(folder, plan.storage, name).get_trials(deepcopy=False)
    last = {number_of(trial): trial for trial in found}
    return Sweep(folder, plan, [_trial(folder, n, trial) for n, trial in sorted(last.items())])


def _trial(folder: Path, number: int, trial: FrozenTrial) -> Trial:
    took = trial.duration
    finished = trial.state == TrialState.COMPLETE
    return Trial(
        number,
        run_folder(folder, number),
        "diverged" if trial.constraints else STATES[trial.state],
        trial.params,
        trial.value if finished else None,
        None if took is None else took.total_seconds(),
    )
