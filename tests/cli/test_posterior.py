"""A posterior flow on the command line: theta given x, through the run of a likelihood."""

import shutil
from dataclasses import replace

import h5py
import jax.random as jr
import numpy as np
import polars as pl
import pytest
from paramax import unwrap
from tests import tiny

import mflows as mf
from mflows import runs
from mflows.cli import options
from mflows.cli.sweep import fit_command
from mflows.cli.use import _rows
from mflows.data import DataError, load, save_array, stream
from mflows.estimator import ManifoldFlow
from mflows.runs.source import turned
from mflows.systems import SYSTEMS

TINY = "layers=1,bins=3,width=4"
FIT = ("--model", "posterior-flow", "--condition", "theta", "--epochs", 2, "--batch-size", 20)


def settings(likelihood, more: str = "low=-1,high=[1]") -> tuple:
    return ("--set", f"likelihood={likelihood},{TINY},{more}")


@pytest.fixture(scope="module")
def posterior(conditional_run, conditional_table, tmp_path_factory):
    """A run, and what ``mflows fit`` printed; its likelihood is gone."""
    from tests.cli.conftest import mflows

    folder = tmp_path_factory.mktemp("posterior")
    shutil.copytree(conditional_run, folder / "likelihood")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        given = (conditional_table, *FIT, *settings("likelihood"), "--out", "run")
        result = mflows("fit", *given)
        assert result.exit_code == 0, result.output
    again = mflows("fit", "--resume", "--out", folder / "run")  # from another directory
    assert again.exit_code == 0, again.output
    shutil.rmtree(folder / "likelihood")
    return folder / "run", result.stdout


def test_fit_writes_a_run_that_needs_its_likelihood_no_more(posterior, conditional_run):
    folder, said = posterior
    assert "Verdict: " in said
    assert "-n 1000 --condition-from OBSERVED.csv" in said
    run = runs.open_run(folder)
    assert run.config.settings["likelihood"] == str(folder.parent / "likelihood")
    assert (run.names, run.condition_names) == (("theta",), ("a", "b", "c"))
    known, flow = mf.load(conditional_run), mf.load(folder)
    x = np.random.default_rng(0).normal(size=(4, 3))
    chart = unwrap(flow.latent.chart)
    for point in np.asarray(x - flow.conditions.placement.centre, dtype=np.float32):
        np.testing.assert_allclose(chart.encode(point), unwrap(known.own().chart).encode(point))
    held_out = run.split().held_out
    assert (held_out.names, held_out.shape, held_out.cond_shape) == (("theta",), (1,), (3,))
    by_default = replace(run.config, epochs=None, settings={"likelihood": str(conditional_run)})
    assert by_default.resolved(54, held_out).epochs > 100
    same = runs.open_run(conditional_run).split().held_out
    np.testing.assert_array_equal(held_out.condition, same.x)


@pytest.mark.filterwarnings("ignore::mflows.conditions.OutsideTraining")
def test_commands_for_it(command, posterior, conditional_table, tmp_path):
    folder, _ = posterior
    with np.load(conditional_table) as given:
        x, theta = given["x"], given["theta"].reshape(-1, 1)
    frame = {"theta": theta[:, 0], **{name: x[:, i] for i, name in enumerate("abc")}}
    pl.DataFrame(frame).write_csv(tmp_path / "shuffled.csv")
    expected = mf.load(folder).log_prob(theta, x)
    for table in (conditional_table, tmp_path / "shuffled.csv"):
        result = command("score", folder, table, "--out", tmp_path / "scores.csv")
        assert result.exit_code == 0, result.output
        scores = load(tmp_path / "scores.csv")
        np.testing.assert_allclose(scores.x[:, 0], expected, rtol=1e-6)

    out = tmp_path / "samples.csv"
    for given in (("--condition", "a=0.1,b=0.2,c=0"), ("--condition-from", conditional_table)):
        result = command("sample", folder, "-n", 20, *given, "--out", out)
        assert result.exit_code == 0, result.output
        drawn = pl.read_csv(out)
        assert drawn.columns == ["theta", "a", "b", "c"]
        assert drawn["theta"].is_between(-1, 1).all()
    np.testing.assert_allclose(drawn["b"], x[:20, 1])

    assert command("report", folder).exit_code == 0
    page = (folder / "report.html").read_text()
    assert "Posterior flow on given.npz" in page
    assert "A density on all 1 dimensions, given a, b, c" in page


def test_a_sweep_and_the_command_of_its_best_run(
    command, conditional_run, conditional_table, tmp_path
):
    out = tmp_path / "sweep"
    search = ("--search", "learning_rate=0.001..0.002", "--trials", 1, "--out", out)
    result = command("sweep", conditional_table, *FIT, *settings(conditional_run), *search)
    assert result.exit_code == 0, result.output
    config = runs.read_config(out / "trials" / "0000")[0]
    words = fit_command(config)
    again = options._literals(words[words.index("--set") + 1], "--set")
    assert again == config.settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (TINY, "Expected the setting 'likelihood' of the model 'posterior-flow'"),
        ("likelihood=nowhere", "nowhere; there is no flow.json. Give the run folder"),
        ("likelihood={saved}/none", "Expected a likelihood with a condition theta"),
        ("likelihood={saved}/bent", "on which its latent density depends, not its chart"),
        ("likelihood={saved}/wide", "Expected theta and x of shapes (1,) and (4,), which the"),
        ("likelihood={posterior}", "Expected the run of a likelihood, a density of x;"),
        ("{run},low=-1", "Expected low and high of 1 finite numbers each, one for each parameter"),
        ("{run},low=[a],high=1", "or of one for all; got ['a'] and 1"),
        ("{run},low=[0,0],high=1", "or of one for all; got [0, 0] and 1"),
        ("{run},low=1,high=-1", "Expected low < high, apart in JAX's precision; got 1 and -1"),
        ("{run},low=text,high=1", "Expected low to be of type float or list"),
        ("{run},low=-1,high=0.5", "Expected theta from -1 to 0.5, the bounds of its prior; got "),
    ],
)
def test_errors_say_what_is_wrong(
    command, conditional_run, conditional_table, posterior, saved, tmp_path, given, message
):
    run = f"likelihood={conditional_run},{TINY}"
    given = given.format(run=run, saved=saved, posterior=posterior[0])
    refused(command, conditional_table, tmp_path, message, *FIT, "--set", given)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("", "Expected the columns of theta for the model 'posterior-flow' (--condition on"),
        ("c", "Expected x ('a', 'b', 'c') and theta ('theta'), the columns of the likelihood in"),
    ],
)
def test_columns_are_those_of_the_likelihood(
    command, conditional_run, conditional_table, tmp_path, condition, message
):
    more = (*FIT, *settings(conditional_run), "--condition", condition)
    refused(command, conditional_table, tmp_path, message, *more)


def refused(command, table, tmp_path, message, *more):
    """In words, and nothing is written."""
    result = command("fit", table, *more, "--out", tmp_path / "new")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Flows that cannot be the likelihood, by ``mflows.save``."""
    folder = tmp_path_factory.mktemp("saved")
    for name, dim, more in (
        ("none", 3, {}),
        ("bent", 3, {"cond_shape": (1,), "conditional_chart": True}),
        ("wide", 4, {"cond_shape": (1,)}),
    ):
        mf.save(folder / name, mf.models.m_flow(jr.key(0), (dim,), 1, **tiny.SETTINGS, **more))
    return folder


def test_points_of_several_axes_are_conditions_in_a_row_from_files_too(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 3, 2))
    theta = np.arange(6.0).reshape(-1, 1)
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["theta"] = x, theta
    for take in (load, stream):
        data = turned(take(path, condition=("theta",)), SYSTEMS["posterior-flow"])
        assert (data.names, data.condition_names[-1]) == (("theta",), "x5")
        np.testing.assert_array_equal(data[[1, 4]].condition, x[[1, 4]].reshape(2, 6))
        np.testing.assert_array_equal(data[:].x, theta)
    np.testing.assert_array_equal(_rows(path, data.condition_names), x.reshape(6, 6))
    with pytest.raises(DataError, match="Expected the columns of theta"):
        turned(load(path), SYSTEMS["posterior-flow"])


def test_weights_stay_with_their_rows(tmp_path):
    rng, weight = np.random.default_rng(0), np.arange(1.0, 7)
    more = {"theta": rng.normal(size=(6, 1)), "weight": weight}
    save_array(tmp_path / "x.npz", rng.normal(size=(6, 2)), ("a", "b"), more=more)
    data = load(tmp_path / "x.npz", condition=("theta",), weight="weight")
    np.testing.assert_array_equal(turned(data, SYSTEMS["posterior-flow"]).weight, weight)


def test_lists_among_settings():
    read = options._literals("low=[-1, 0.5],high=1,name=a[0],more=[true]", "--set")
    assert read == {"low": [-1, 0.5], "high": 1, "name": "a[0]", "more": [True]}


def test_the_estimator_refuses_it():
    with pytest.raises(ValueError, match="density of X; got 'posterior-flow', one of theta given"):
        ManifoldFlow(None, model="posterior-flow").fit(np.eye(4))
