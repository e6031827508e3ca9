"""What one does with a run: score, sample, project, report; and the other commands."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from tests import tiny
from tests.simulators import generators

from mflows import experiments, runs, simulators
from mflows.data import data, load
from mflows.simulators import dcgan
from mflows.simulators.physics import wbf_higgs


def test_score_writes_log_prob_and_distance(command, run, tmp_path):
    new = tiny.write_table(tmp_path / "new.parquet", seed=5)
    result = command("score", run, new, "--out", tmp_path / "scores.csv")
    assert result.exit_code == 0, result.output
    assert "Wrote 60 rows" in result.stdout
    scores = pl.read_csv(tmp_path / "scores.csv")
    assert scores.columns == ["log_prob", "distance"]
    opened = runs.open_run(run)
    x = load(new).x
    expected = opened.flow.log_prob_and_distance(x)
    np.testing.assert_allclose(scores["log_prob"], expected.log_prob, rtol=1e-12)
    np.testing.assert_allclose(scores["distance"], expected.distance, rtol=1e-12)


def test_a_table_in_pieces_gives_the_same(command, run, tmp_path, monkeypatch):
    new = tiny.write_table(tmp_path / "new.parquet", seed=5)
    for folder, rows in (("whole", 1 << 17), ("pieces", 7)):
        monkeypatch.setattr(data, "ROWS", rows)
        (tmp_path / folder).mkdir()
        for name, more in (("score", ()), ("project", ("--nearest",))):
            out = tmp_path / folder / f"{name}.npy"
            assert command(name, run, new, "--out", out, *more).exit_code == 0
    for name in ("score.npy", "project.npy"):
        whole, pieces = (np.load(tmp_path / folder / name) for folder in ("whole", "pieces"))
        assert len(whole) == 60
        np.testing.assert_allclose(whole, pieces, rtol=1e-9, atol=1e-9)


def test_columns_are_found_by_name(command, run, table, tmp_path):
    frame = pl.read_csv(table)
    shuffled = frame.select("c", pl.lit("text").alias("note"), "a", "b")
    shuffled.write_csv(tmp_path / "shuffled.csv")
    for name, source in (("straight", table), ("shuffled", tmp_path / "shuffled.csv")):
        assert command("score", run, source, "--out", tmp_path / f"{name}.npy").exit_code == 0
    np.testing.assert_array_equal(
        np.load(tmp_path / "straight.npy"), np.load(tmp_path / "shuffled.npy")
    )


def test_conditional_scores_depend_on_the_condition(
    command, conditional_run, conditional_table, tmp_path
):
    with np.load(conditional_table) as given:
        x, theta = given["x"], given["theta"]
    values = []
    for name, column in (("true", theta), ("other", -theta)):
        np.savez(tmp_path / f"{name}.npz", x=x, names=["a", "b", "c"], theta=column)
        out = tmp_path / f"{name}.npy"
        result = command("score", conditional_run, tmp_path / f"{name}.npz", "--out", out)
        assert result.exit_code == 0, result.output
        values.append(np.load(out))
    assert not np.allclose(values[0][:, 0], values[1][:, 0])
    np.testing.assert_allclose(values[0][:, 1], values[1][:, 1])  # one manifold for all theta


def test_sample_is_reproducible(command, run, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = tmp_path / f"{name}.npy"
        assert command("sample", run, "-n", 20, "--seed", seed, "--out", out).exit_code == 0
    a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
    assert a.shape == (20, 3)
    assert (a == b).all()
    assert (a != c).all()


def test_sample_at_a_condition(command, conditional_run, conditional_table, tmp_path):
    out = tmp_path / "samples.csv"
    result = command("sample", conditional_run, "-n", 20, "--condition", "theta=0.25", "--out", out)
    assert result.exit_code == 0, result.output
    frame = pl.read_csv(out)
    assert frame.columns == ["a", "b", "c", "theta"]
    assert (frame["theta"] == 0.25).all()
    assert frame.height == 20

    (tmp_path / "prior.csv").write_text("theta\n0.5\n-0.5\n0.1\n")
    for source, number, expected in (
        (tmp_path / "prior.csv", 20, np.resize([0.5, -0.5, 0.1], 20)),
        (conditional_table, 20, np.load(conditional_table)["theta"][:20, 0]),
    ):
        more = ("-n", number, "--condition-from", source, "--out", out)
        result = command("sample", conditional_run, *more)
        assert result.exit_code == 0, result.output
        np.testing.assert_allclose(pl.read_csv(out)["theta"], expected)


def test_project_moves_points_onto_the_manifold(command, run, table, tmp_path):
    out = tmp_path / "projected.csv"
    assert command("project", run, table, "--out", out).exit_code == 0
    assert pl.read_csv(out).columns == ["a", "b", "c"]
    opened = runs.open_run(run)
    np.testing.assert_allclose(
        load(out).x, opened.flow.project(load(table).x), rtol=1e-9, atol=1e-12
    )


def test_report(command, run, conditional_run, table):
    for folder in (run, conditional_run):
        result = command("report", folder)
        assert result.exit_code == 0, result.output
        page = (folder / "report.html").read_text()
        assert "M-flow on" in page
        assert "Learned curve" in page
        assert "sha256" in page
        assert "<dt>ill-conditioned held-out points</dt><dd>0 of 6</dd>" in page


def test_simulate(command, tmp_path):
    for name in ("a", "b"):
        out = tmp_path / f"{name}.npz"
        result = command(
            "simulate", "polynomial-surface", "--events", 50, "--seed", 3, "--out", out
        )
        assert result.exit_code == 0, result.output
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert set(a) == {"x", "theta", "names", "log_prob", "joint_score"}
        assert (a["x"] == b["x"]).all()
        surface = simulators.named("polynomial-surface")
        np.testing.assert_allclose(a["log_prob"], surface.log_prob(a["x"], a["theta"]))
        assert np.asarray(surface.distance(a["x"])).max() < 1e-9
        joint_score = a["joint_score"]
    loaded = load(tmp_path / "a.npz", condition=["theta"])
    assert loaded.cond_shape == (1,)
    assert (loaded.joint_score == joint_score).all()
    assert load(tmp_path / "a.npz").joint_score is None
    for suffix in ("csv", "npy"):
        out = tmp_path / f"a.{suffix}"
        assert command("simulate", "polynomial-surface", "-n", 50, "--out", out).exit_code == 0
    assert pl.read_csv(tmp_path / "a.csv").columns == ["x0", "x1", "x2", "theta"]


def few_events(monkeypatch, folder):
    """Parts of 15 events in this process, and a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(wbf_higgs, "PART", 15)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0}, raising=False)


# Lorenz follows 100 trajectories to time 1,000, however few points are asked for; the next test has
# the events.
@pytest.mark.parametrize("name", sorted({*simulators.names()} - {"lorenz", "wbf-higgs"}))
def test_every_simulator_has_its_command(command, name, tmp_path, monkeypatch):
    monkeypatch.setattr(dcgan, "faces", generators.faces)
    result = command("simulate", name, "-n", 20, "--out", tmp_path / "a.npz")
    assert result.exit_code == 0, result.output


def test_events_come_with_what_is_known_of_them(command, tmp_path, monkeypatch):
    few_events(monkeypatch, tmp_path)
    for count, suffix in ((20, "npz"), (12, "csv"), (20, "npy")):
        out = tmp_path / f"{count}.{suffix}"
        given = ("wbf-higgs", "-n", count, "--seed", 3, "--out", out)
        assert command("simulate", *given).exit_code == 0
    with np.load(tmp_path / "20.npz") as file:
        assert {name: array.shape for name, array in file.items()} == {
            "x": (20, 40), "names": (40,), "components": (20, 10), "flavours": (20, 4),
            "channel": (20,),
        }  # fmt: skip
        x = file["x"]
    np.testing.assert_array_equal(np.load(tmp_path / "20.npy"), x)
    table = pl.read_csv(tmp_path / "12.csv")
    np.testing.assert_allclose(table["m(jj)"], x[:12, 37], rtol=1e-6)
    assert {"components9", "flavours0", "channel"} < {*table.columns}

    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    result = command("simulate", "wbf-higgs", "-n", 20, "--seed", 4, "--out", tmp_path / "a.npz")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Events of particle physics need Pythia: pip install")


def test_simulate_was_called_data(command, tmp_path):
    out = tmp_path / "a.csv"
    assert command("data", "spiral", "-n", 20, "--out", out).exit_code == 0
    assert pl.read_csv(out).shape == (20, 2)
    assert "│ data " not in command("--help").stdout


def test_simulate_without_parameters(command, tmp_path):
    for suffix in ("npz", "csv"):
        out = tmp_path / f"a.{suffix}"
        assert command("data", "circle", "-n", 50, "--out", out).exit_code == 0
    with np.load(tmp_path / "a.npz") as a:
        assert set(a) == {"x", "names", "log_prob"}
        circle = simulators.named("circle")
        np.testing.assert_allclose(a["log_prob"], circle.log_prob(a["x"]))
    assert pl.read_csv(tmp_path / "a.csv").columns == ["x0", "x1"]


def test_experiment_calls_the_experiment(command, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setenv("XLA_FLAGS", "")  # the short version sets it
    monkeypatch.setattr(
        experiments, "named", lambda name: lambda *args, **more: calls.append((name, args, more))
    )
    options = ("--models", "af,m-flow", "--seeds", 2, "--quick", "--out", tmp_path, "--jobs", 2)
    result = command("experiment", "polynomial-surface", *options, "--budget", 1.5)
    assert result.exit_code == 0, result.output
    given = {"models": ("af", "m-flow"), "seeds": 2, "quick": True, "jobs": 2, "overwrite": False}
    given["budget"] = 1.5
    assert calls == [("polynomial-surface", (tmp_path,), given)]


@pytest.mark.parametrize(
    "name", ["", "fit", "score", "sample", "project", "report", "experiment", "simulate"]
)
def test_help_has_examples(command, name):
    result = command(*([name] if name else []), "--help")
    assert result.exit_code == 0
    assert f"mflows {name or 'fit'} " in result.stdout


def test_version(command):
    assert command("--version").stdout.startswith("mflows ")


def test_help_and_import_load_nothing_slow():
    code = (
        "import sys, mflows, mflows.cli\n"
        "slow = {'jax', 'numpy', 'sklearn', 'polars', 'plotly'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
