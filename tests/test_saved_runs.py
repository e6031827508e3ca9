"""What version 0.1.0 wrote, before the rooms were moved, is still read, to the same numbers.

``tests/saved`` holds a tiny run of each system, one that was interrupted, with its checkpoint, and
a sweep of which one trial has finished and one was interrupted. ``expected.npz`` has what that
version made of the first rows of its table.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from optuna.trial import TrialState

import mflows as mf
from mflows import runs, sweeps

SAVED = Path(__file__).parent / "saved"


@pytest.fixture(autouse=True)
def single_precision():
    """That of the runs."""
    with jax.enable_x64(False):
        yield


SYSTEMS = ("af", "fom", "gan", "m-flow", "me-flow", "pae", "pie", "ripf", "vae")


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_of_every_system_is_read_to_the_same_numbers(name):
    run = runs.open_run(SAVED / name)
    table = SAVED / ("directions.npy" if name == "fom" else "table.csv")
    expected = np.load(SAVED / name / "expected.npz")
    rows = run.load(table)[:5]
    np.testing.assert_allclose(rows.x, expected["x"])
    if name == "vae":
        with pytest.raises(mf.charts.Unavailable):
            run.flow.log_prob(rows.x, rows.condition)
        found = {"distance": run.flow.distance(rows.x, rows.condition)}
    else:
        found = run.flow.log_prob_and_distance(rows.x, rows.condition)._asdict()
    for value, numbers in found.items():
        np.testing.assert_allclose(numbers, expected[value], rtol=2e-3, atol=2e-4)
    assert [row["epoch"] for row in run.history][-1] >= 1
    kept, held_out = run.split(table)
    assert (len(kept), len(held_out)) == (54, 6)


def test_an_interrupted_run_goes_on(tmp_path):
    folder = Path(shutil.copytree(SAVED / "interrupted", tmp_path / "run"))
    config, _ = runs.read_config(folder)
    run = runs.train(folder, replace(config, data=str(SAVED / "table.csv")), resume=True)
    found = run.score(run.load(SAVED / "table.csv")[:5]).log_prob
    expected = np.load(SAVED / "interrupted" / "expected.npz")
    losses = [row["train"] for row in run.history]
    np.testing.assert_allclose(losses, expected["history"], rtol=1e-3)
    np.testing.assert_allclose(found, expected["log_prob"], rtol=1e-2)


def test_a_sweep_is_read(tmp_path):
    folder = Path(shutil.copytree(SAVED / "sweep", tmp_path / "sweep"))
    sweep = sweeps.open_sweep(folder)
    assert list(sweep.plan.search) == ["learning_rate", "set.width"]
    first, second = sweep.trials
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.RUNNING)
    assert first.value == pytest.approx(1.5494755506515503)
    assert first.params["set.width"] == 4
    assert second.params["learning_rate"] == pytest.approx(0.008839874534247043)
    assert sweep.best.number == 0
