"""A worker: takes trials and trains them until the sweep has as many as were asked for."""

import math
from collections.abc import Callable
from pathlib import Path

import jax
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from mflows import runs
from mflows.sweeps.board import Board
from mflows.sweeps.desk import Desk, Task, run_folder
from mflows.sweeps.objectives import OBJECTIVES
from mflows.sweeps.plan import Plan, Ready
from mflows.sweeps.sweep import Sweep, open_sweep
from mflows.training import TrainingDiverged

_MAPS, _MANY = Path("/proc/self/maps"), 20_000


class _Lost(Exception):
    """The trial was given to another worker."""


def work(folder: str | Path, plan: Plan, *, trials: int, progress: bool = False) -> Sweep:
    """Train trials of a sweep until it has ``trials``, by this worker and others together.

    On bad input nothing is written. A sweep that is there already goes on. A trial whose worker was
    killed goes on where it stopped, in any worker. A training that diverges is a bad trial; any
    other error gives the trial back and is raised.

    Args:
        folder: The sweep's folder, the same for all workers.
        plan: What to do, the same for all workers.
        trials: Total number of trials; those pruned and diverged count too.
        progress: Tell on standard error what happens.

    Raises:
        DataError: If the data cannot be loaded or used.
        ValueError: If the plan makes no sense, or differs from the sweep in the folder.
    """
    if trials < 1:
        raise ValueError(f"Expected trials >= 1; got {trials}.")
    folder = Path(folder)
    ready = plan.ready()
    desk = Desk(folder, ready)
    board = Board(ready, progress)
    while (task := desk.take(trials)) is not None:
        with task.heartbeat:
            try:
                _attempt(folder, ready, desk, task, board)
            except BaseException as error:
                deaths = 0 if isinstance(error, KeyboardInterrupt) else 1
                desk.give_back(task, deaths=deaths)
                raise
        _forget_programs()
    return open_sweep(folder)


def _attempt(folder: Path, ready: Ready, desk: Desk, task: Task, board: Board) -> None:
    """Train one trial and tell what came of it."""
    trial, plan = task.trial, ready.plan
    known = set(desk.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def each_epoch(row: dict) -> None:
        if task.heartbeat.lost:
            raise _Lost
        board.epoch(row)
        step = ready.compared.step(row) if plan.prune else None
        if step is None or step in known:  # known from before an interruption
            return
        trial.report(row["validation"], step)
        if trial.should_prune():
            raise optuna.TrialPruned

    with board.trial(task.number, trial.params) as line:
        try:
            value = _trained(folder, plan, task, each_epoch)
            if math.isfinite(value):
                desk.study.tell(trial, value, skip_if_finished=True)
                line.ended(f"{plan.objective} {value:.4g}")
            else:  # infeasible: the sampler learns from it, and it is never the best
                trial.set_constraint("diverged", 1.0)
                desk.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
                line.ended("diverged")
        except optuna.TrialPruned:
            desk.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
            line.ended("pruned")
        except (_Lost, UpdateFinishedTrialError):
            line.ended("taken over by another worker")


def _trained(folder: Path, plan: Plan, task: Task, each_epoch: Callable[[dict], None]) -> float:
    """The objective of a trial's run, not finite if it diverged."""
    path, config = run_folder(folder, task.number), plan.at(task.trial.params)
    try:
        run = runs.train(path, config, resume=True, each_epoch=each_epoch)
    except TrainingDiverged:
        return math.nan
    if run.provenance["status"] == "diverged":  # under a worker that died before it could tell
        return math.nan
    return OBJECTIVES[str(plan.objective)].measure(run, run.split().held_out)


def _forget_programs() -> None:
    """Drop compiled programs before they are too many.

    Each holds memory maps, of which Linux gives a process 65,530, and every learning rate is a
    program of its own.
    """
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MANY:
        jax.clear_caches()
