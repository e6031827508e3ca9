"""The trials of a sweep: handed out to workers, begun again when one dies, and read back.

A trial whose worker died fails in Optuna, which counts a new one in its place. People know it by
the number of its first beginning, which its run folder carries too.
"""

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from mflows.runs import Config
from mflows.runs.run import read_described, write_described
from mflows.runs.source import Source, check_same
from mflows.saving import LoadError
from mflows.sweeps.plan import Plan, Ready, written
from mflows.sweeps.storage import LOCK, Heartbeat, is_dead, locked, open_study

RETRIES = 3
"""How often a trial is begun again after its worker died: it may be the trial that kills it."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep has found so far.

    Attributes:
        folder: Where it lies.
        plan: What it does.
        trials: Optuna's trials in the order of their numbers: ``number``, ``params`` (what was
            searched, by name), ``value`` (the objective, of a complete one), ``state``,
            ``duration`` (of its last worker).
    """

    folder: Path
    plan: Plan
    trials: list[FrozenTrial]

    @property
    def finished(self) -> list[FrozenTrial]:
        """Trials with a value, the best first."""
        found = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(found, key=lambda trial: trial.value or 0.0)

    @property
    def best(self) -> FrozenTrial:
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
        return self.plan.at(self.best.params)

    def run_folder(self, trial: FrozenTrial) -> Path:
        """Where the run of a trial lies."""
        return run_folder(self.folder, trial.number)


def state_of(trial: FrozenTrial) -> str:
    """What became of a trial: Optuna's state, or ``diverged`` for a pruned one that did."""
    return "diverged" if trial.constraints else trial.state.name.lower()


def open_sweep(folder: str | Path) -> Sweep:
    """Read what a sweep has found so far; others may go on with it meanwhile.

    Raises:
        LoadError: If there is none, or it is damaged.
    """
    folder = Path(folder)
    plan, _, name = _read(folder)
    with locked(folder):
        last = {number_of(t): t for t in open_study(folder, plan.storage, name).get_trials()}
    for number, trial in last.items():
        trial.number = number
    return Sweep(folder, plan, [last[number] for number in sorted(last)])


def read_plan(folder: str | Path) -> Plan:
    """The plan of a sweep.

    Raises:
        LoadError: If there is none, or it is damaged.
    """
    return _read(Path(folder))[0]


@dataclass(frozen=True)
class Task:
    """A trial that this worker has taken.

    Attributes:
        trial: Optuna's trial.
        number: Number by which people know it: that of its first beginning.
        heartbeat: To hold while it is worked on.
    """

    trial: optuna.Trial
    number: int
    heartbeat: Heartbeat


class SharedStudy:
    """Hands out the trials of one sweep, each to one worker.

    Args:
        folder: The sweep's folder; made, with ``sweep.json``, if it does not exist.
        ready: What the sweep is to do.

    Raises:
        ValueError: If the folder holds something else, or a sweep that does something else.
    """

    def __init__(self, folder: Path, ready: Ready):
        self._folder = folder
        self._plan = ready.plan
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(folder):
                name = _settle(folder, ready)
                (folder / "trials").mkdir(exist_ok=True)
                self.study = open_study(folder, ready.plan.storage, name)
        except (ValueError, OSError):
            if new:  # a storage that cannot be opened leaves no folder behind
                shutil.rmtree(folder)
            raise
        if ready.plan.prune:
            self.study.pruner = ready.comparable.pruner()

    def take(self, total: int) -> Task | None:
        """The next trial, or ``None`` when ``total`` have been taken.

        Trials whose worker died are begun again, where they stopped, and do not count twice.
        """
        with locked(self._folder) as now:
            for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
                if is_dead(self._alive(trial.number), now):
                    self._begin_again(trial, deaths=1)
            trials = self.study.get_trials(deepcopy=False)
            started = {number_of(trial) for trial in trials}
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            if len(started) >= total and not waiting:
                return None
            # A seed for each trial: workers draw different ones, and one worker that was
            # interrupted draws the same as one that was not.
            words = np.random.SeedSequence((self._plan.config.seed, len(started))).generate_state(1)
            self.study.sampler = TPESampler(seed=int(words[0]))
            trial = self.study.ask(dict(self._plan.search))
            frozen = self.study.get_trials(deepcopy=False)[trial.number]
            return Task(trial, number_of(frozen), Heartbeat(self._alive(trial.number)))

    def give_back(self, task: Task, *, deaths: int) -> None:
        """Let a trial be begun again.

        Args:
            task: The trial.
            deaths: 1 if it may be to blame, 0 if not.
        """
        with locked(self._folder):
            frozen = self.study.get_trials()[task.trial.number]
            if frozen.state == TrialState.RUNNING:
                self._begin_again(frozen, deaths=deaths)

    def _begin_again(self, trial: FrozenTrial, *, deaths: int) -> None:
        self._alive(trial.number).unlink(missing_ok=True)
        deaths += trial.user_attrs.get("deaths", 0)
        self.study.tell(trial.number, state=TrialState.FAIL)
        if deaths <= RETRIES:
            self.study.add_trial(
                optuna.create_trial(
                    state=TrialState.WAITING,
                    params=trial.params,
                    distributions=trial.distributions,
                    intermediate_values=trial.intermediate_values,
                    user_attrs={**trial.user_attrs, "of": number_of(trial), "deaths": deaths},
                )
            )

    def _alive(self, number: int) -> Path:
        return self._folder / "trials" / f"{number:04d}.alive"


def number_of(trial: FrozenTrial) -> int:
    """The number of a trial's first beginning."""
    return trial.user_attrs.get("of", trial.number)


def run_folder(folder: Path, number: int) -> Path:
    """Where the run of a trial lies."""
    return folder / "trials" / f"{number:04d}"


def _read(folder: Path) -> tuple[Plan, Source, str]:
    """The plan, the source of the data, and the name of Optuna's study.

    Raises:
        LoadError: If there is no sweep, or its ``sweep.json`` is damaged or of a newer format.
    """
    path = folder / "sweep.json"
    if not path.is_file():
        raise LoadError(f"Expected a sweep, as `mflows sweep` writes it, in {folder}; got none.")
    values = read_described(path, "sweep")
    try:
        return Plan.from_dict(values), Source.from_dict(values["source"]), values["study"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoadError(f"{path} is not a file of a sweep: {error}. Restore it.") from error


def _settle(folder: Path, ready: Ready) -> str:
    """Write ``sweep.json``, or check it; returns the name of Optuna's study."""
    if not (folder / "sweep.json").is_file():
        others = [path.name for path in folder.iterdir() if path.name != LOCK]
        if others:
            raise ValueError(
                f"{folder} holds other files and is no sweep. Give the sweep a folder of its own."
            )
        name = f"{folder.resolve().name}-{uuid.uuid4().hex[:8]}"
        values = {"study": name, **ready.plan.as_dict(), "source": ready.source.as_dict()}
        write_described(folder / "sweep.json", values)
        return name
    before, source, name = _read(folder)
    check_same("sweep", folder, (source, _flat(before)), (ready.source, _flat(ready.plan)))
    return name


def _flat(plan: Plan) -> dict[str, Any]:
    plain = plan.as_dict()
    search = {f"search {name}": written(space) for name, space in plan.search.items()}
    return {**plain.pop("config"), **search, **{k: v for k, v in plain.items() if k != "search"}}
