"""A worker: takes trials and trains them until the sweep has as many as were asked for."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from rich.console import Console

from mflows import runs
from mflows.sweeps.objectives import OBJECTIVES
from mflows.sweeps.plan import Plan, Ready
from mflows.sweeps.study import SharedStudy, Sweep, Task, open_sweep, run_folder
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
    shared = SharedStudy(folder, ready)
    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not progress)
    if ready.plan.prune and not ready.comparable.epochs:
        console.print(f"No trial is pruned: {ready.comparable.why}.")
    while (task := shared.take(trials)) is not None:
        with task.heartbeat:
            try:
                _attempt(folder, ready, shared.study, task, console)
            except BaseException as error:
                deaths = 0 if isinstance(error, KeyboardInterrupt) else 1
                shared.give_back(task, deaths=deaths)
                raise
        _forget_programs()
    return open_sweep(folder)


def _attempt(folder: Path, ready: Ready, study: optuna.Study, task: Task, console: Console) -> None:
    """Train one trial, with a line about it, and tell Optuna what came of it."""
    trial, plan = task.trial, ready.plan
    known = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    head, started, ended = f"trial {task.number}: {told(trial.params)}", time.monotonic(), "stopped"
    status = console.status(f"{head}  compiling")

    def each_epoch(row: dict) -> None:
        if task.heartbeat.lost:
            raise _Lost
        where = f"{row['phase']}, epoch {row['epoch']}"
        status.update(f"{head}  {where}: validation {row['validation']:.4g}")
        step = ready.comparable.step(row) if plan.prune else None
        if step is None or step in known:  # known from before an interruption
            return
        trial.report(row["validation"], step)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        if console.is_terminal and not console.quiet:
            status.start()
        value = _trained(folder, plan, task, each_epoch)
        if math.isfinite(value):
            study.tell(trial, value, skip_if_finished=True)
            ended = f"{plan.objective} {value:.4g}"
        else:  # infeasible: the sampler learns from it, and it is never the best
            trial.set_constraint("diverged", 1.0)
            study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
            ended = "diverged"
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        ended = "pruned"
    except (_Lost, UpdateFinishedTrialError):
        ended = "taken over by another worker"
    finally:
        status.stop()
        console.print(f"{head}  {ended}  ({time.monotonic() - started:.1f} s)")


def told(values: Mapping) -> str:
    """Values of a trial, as a line."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


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
