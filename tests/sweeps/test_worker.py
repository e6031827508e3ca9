"""Real sweeps of tiny ambient flows, by workers in this process and in others."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from tests import tiny
from tests.processes import DOUBLE, mflows
from typer.testing import CliRunner

from mflows import runs
from mflows.cli import app
from mflows.saving import LoadError
from mflows.sweeps import Choice, Plan, Range, objectives, open_sweep, read_plan, work
from mflows.sweeps.storage import STALE, Heartbeat, is_dead
from mflows.sweeps.study import RETRIES, state_of

SETTINGS = {"layers": 1, "width": 4, "affine": True}
EPOCHS = 12
PATIENCE = {"recipe-set.patience": Choice((20, 30))}  # two programs to compile


def plan(table: Path, search=PATIENCE, **more) -> Plan:
    changes = {"model": "af", "latent_dim": None, "settings": SETTINGS, "epochs": EPOCHS}
    changes["batch_size"] = 20
    return Plan(tiny.config(table, **changes), search, **more)


def command(table: Path, folder: Path, trials: int, *more: str) -> list[str]:
    """The same sweep as a command."""
    settings = ",".join(f"{name}={value}" for name, value in SETTINGS.items())
    options = ["--model", "af", "--set", settings, "--epochs", str(EPOCHS), "--batch-size", "20"]
    options += ["--search", "recipe-set.patience=20|30", "--trials", str(trials)]
    return ["sweep", str(table), *options, "--out", str(folder), *more]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny.write_table(tmp_path_factory.mktemp("data") / "curve.csv", rows=200)


@pytest.fixture(scope="module")
def swept(table, tmp_path_factory):
    return work(tmp_path_factory.mktemp("sweeps") / "curve", plan(table), trials=4)


def test_every_trial_is_a_run_and_the_best_is_the_least(swept):
    assert [trial.number for trial in swept.trials] == [0, 1, 2, 3]
    assert {trial.state for trial in swept.trials} == {TrialState.COMPLETE}
    for trial in swept.trials:
        run = runs.open_run(swept.run_folder(trial))
        assert run.config.recipe_settings == {"patience": trial.params["recipe-set.patience"]}
        log_prob = run.score(run.split().held_out).log_prob
        assert trial.value == pytest.approx(-log_prob.mean())
    assert swept.best.value == min(trial.value for trial in swept.trials)
    assert swept.best_config.recipe_settings["patience"] in (20, 30)


def test_a_sweep_that_has_its_trials_is_opened_and_more_may_be_asked_for(swept, table):
    again = work(swept.folder, read_plan(swept.folder), trials=3)
    assert again == open_sweep(swept.folder) == swept
    with pytest.raises(ValueError, match="started with objective 'log-prob'; got 'mmd'"):
        work(swept.folder, plan(table, objective="mmd"), trials=5)
    with pytest.raises(ValueError, match="trials >= 1; got 0"):
        work(swept.folder, plan(table), trials=0)


def test_another_search_or_other_data_are_another_sweep(swept, table, tmp_path):
    other = {"recipe-set.patience": Range(20, 30)}
    with pytest.raises(ValueError, match=r"recipe-set.patience '20\|30'; got '20..30'"):
        work(swept.folder, plan(table, other), trials=5)
    changed = tiny.write_table(tmp_path / "curve.csv", rows=200, seed=1)
    with pytest.raises(ValueError, match="is not the file that .* was started with"):
        work(swept.folder, plan(changed), trials=5)
    with pytest.raises(ValueError, match="holds other files and is no sweep"):
        work(tmp_path, plan(table), trials=1)
    with pytest.raises(LoadError, match="Expected a sweep"):
        open_sweep(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 9, "mflows": "9.0"}'])
def test_a_damaged_sweep_is_refused(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(LoadError, match="Restore it|has format 9, written by mflows 9.0"):
        open_sweep(tmp_path)


def test_a_killed_worker_s_trial_goes_on_and_the_sweep_is_the_same(swept, table, tmp_path):
    folder = tmp_path / "sweep"
    worker = mflows(*command(table, folder, 4), config=DOUBLE)
    history = folder / "trials" / "0001" / "history.jsonl"
    try:
        while not history.is_file() or history.read_text().count("\n") < 3:
            assert worker.poll() is None, worker.communicate()[1]
            time.sleep(0.002)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
    states = [trial.state for trial in open_sweep(folder).trials]
    assert states == [TrialState.COMPLETE, TrialState.RUNNING]

    resumed = work(folder, plan(table), trials=4)
    assert len(resumed.trials) == 4
    assert {trial.state for trial in resumed.trials} == {TrialState.COMPLETE}
    assert [t.params for t in resumed.trials] == [t.params for t in swept.trials]
    assert [t.value for t in resumed.trials] == pytest.approx([t.value for t in swept.trials])
    second = resumed.run_folder(resumed.trials[1])
    assert second == folder / "trials" / "0001"
    second = json.loads((second / "provenance.json").read_text())
    assert len(second["resumed"]) == 1
    assert not list(folder.glob("trials/*.alive"))


@pytest.mark.parametrize("storage", ["optuna.db", "journal.log"])
def test_workers_share_the_trials_and_do_none_twice(table, tmp_path, storage):
    folder = tmp_path / "sweep"
    arguments = command(table, folder, 3, "--storage", storage)
    worker = mflows(*arguments, config=DOUBLE)
    while not (folder / "trials" / "0000").is_dir():
        assert worker.poll() is None, worker.communicate()[1]
        time.sleep(0.002)
    other = CliRunner().invoke(app, arguments)  # in this process, which knows the programs
    told = [worker.communicate()[1], other.stderr]
    assert (worker.returncode, other.exit_code) == (0, 0), told
    sweep = open_sweep(folder)
    assert [trial.state for trial in sweep.trials] == [TrialState.COMPLETE] * 3
    ours, theirs = (re.findall(r"^(trial \d): .*log-prob", text, re.M) for text in told)
    assert ours
    assert theirs
    assert sorted(ours + theirs) == ["trial 0", "trial 1", "trial 2"]
    assert (folder / storage).is_file()
    assert (folder / "sweep.html").is_file()


def test_an_interrupted_trial_is_given_back_at_once(table, tmp_path, monkeypatch):
    train = runs.train

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    for _ in range(RETRIES + 2):  # an interrupt is not the trial's fault
        monkeypatch.setattr(runs, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            work(tmp_path / "sweep", plan(table), trials=1)
        (trial,) = open_sweep(tmp_path / "sweep").trials
        assert trial.state == TrialState.WAITING
    monkeypatch.setattr(runs, "train", train)
    (trial,) = work(tmp_path / "sweep", plan(table), trials=1).trials
    assert (trial.state, trial.number) == (TrialState.COMPLETE, 0)


def test_a_trial_that_breaks_every_worker_is_given_up(table, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(runs, "train", broken)
    for _ in range(RETRIES + 1):
        with pytest.raises(OSError, match="no space left"):
            work(tmp_path / "sweep", plan(table), trials=1)
    (trial,) = work(tmp_path / "sweep", plan(table), trials=1).trials
    assert trial.state == TrialState.FAIL


def test_a_diverged_trial_is_never_the_best_and_ends_nothing(table, tmp_path):
    search = {"learning_rate": Choice((1e-3, 1e30))}
    sweep = work(tmp_path / "sweep", plan(table, search), trials=4)
    states = {(trial.params["learning_rate"], state_of(trial)) for trial in sweep.trials}
    assert states == {(1e-3, "complete"), (1e30, "diverged")}
    assert sweep.best.params == {"learning_rate": 1e-3}
    with pytest.raises(ValueError, match="No trial of .* has finished yet"):
        _ = type(sweep)(sweep.folder, sweep.plan, []).best


@pytest.mark.parametrize("prune", [True, False])
def test_a_bad_learning_rate_is_pruned(table, tmp_path, monkeypatch, prune):
    monkeypatch.setattr(objectives, "STARTUP", 1)
    search = {"learning_rate": Choice((1e-2, 1e-9))}
    sweep = work(tmp_path / "sweep", plan(table, search, prune=prune), trials=5)
    good, bad = ([t for t in sweep.trials if t.params["learning_rate"] == v] for v in (1e-2, 1e-9))
    assert {t.state for t in good} == {TrialState.COMPLETE}
    later = {t.state for t in bad if t.number > good[0].number}
    assert later == {TrialState.PRUNED if prune else TrialState.COMPLETE}
    for trial in sweep.trials:
        rows = (sweep.run_folder(trial) / "history.jsonl").read_text().count("\n")
        assert (rows < EPOCHS) == (trial.state == TrialState.PRUNED)


def test_the_objective_without_a_density_compares_samples(table, tmp_path):
    mmd = objectives.OBJECTIVES["mmd"].measure
    sweep = work(tmp_path / "sweep", plan(table, objective="mmd"), trials=1)
    run = runs.open_run(sweep.run_folder(sweep.best))
    held_out = run.split().held_out
    samples = run.flow.sample(jax.random.key(0), (len(held_out),))
    exact = type(held_out)(np.asarray(samples), names=held_out.names)
    assert mmd(run, exact) < 0 < mmd(run, type(held_out)(exact.x + 9.0, names=held_out.names))


def test_a_worker_is_dead_when_its_process_is_gone_or_it_is_silent(tmp_path):
    path = tmp_path / "0000.alive"
    now = time.time()
    assert is_dead(path, now)
    with Heartbeat(path):
        assert not is_dead(path, now)
        assert is_dead(path, now + 2 * STALE)
        signs = json.loads(path.read_text())
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        path.write_text(json.dumps({**signs, "process": child.pid}))
        assert is_dead(path, now)
        path.write_text(json.dumps({"machine": "elsewhere", "process": child.pid}))
        assert not is_dead(path, now)
    assert not path.exists()


def test_a_worker_that_was_taken_for_dead_leaves_the_trial(table, tmp_path, monkeypatch):
    folder, train = tmp_path / "sweep", runs.train

    def taken_over(path, config, *, each_epoch, **more):
        def late(row):
            (study,) = optuna.get_all_study_names(f"sqlite:///{folder}/optuna.db")
            other = optuna.load_study(study_name=study, storage=f"sqlite:///{folder}/optuna.db")
            if other.trials[0].state == TrialState.RUNNING:
                other.tell(0, state=TrialState.FAIL)
            each_epoch(row)

        return train(path, config, each_epoch=late, **more)

    monkeypatch.setattr(runs, "train", taken_over)
    (trial,) = work(folder, plan(table), trials=1).trials
    assert trial.state == TrialState.FAIL
