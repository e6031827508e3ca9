"""Every experiment runs, in its short form, and says what it found."""

import json
import time

import pytest

from mflows import experiments
from mflows.experiments import rolled_shapes
from mflows.experiments.jobs import run_jobs
from mflows.simulators.rolled import SHAPES
from mflows.training import start


def test_every_experiment_has_a_runner():
    for name in experiments.names():
        assert callable(experiments.named(name))
    with pytest.raises(ValueError, match="Expected an experiment out of: digits"):
        experiments.named("no-such")


def test_polynomial_surface(tmp_path, capsys):
    experiments.named("polynomial-surface")(tmp_path, ("m-flow", "af"), 1, True)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["model"] for row in rows] == ["m-flow", "af"]
    assert rows[0]["reconstruction"] < 1
    assert rows[0]["sample_distance"] < 0.5  # four epochs: a rough surface, but in its place
    assert "reconstruction" not in rows[1]
    assert "Polynomial surface" in capsys.readouterr().out
    assert (tmp_path / "m-flow-0" / "report.html").is_file()
    before = (tmp_path / "m-flow-0" / "flow.safetensors").read_bytes()
    experiments.named("polynomial-surface")(tmp_path, ("m-flow",), 1, True)
    assert (tmp_path / "m-flow-0" / "flow.safetensors").read_bytes() == before


def test_digits(tmp_path):
    experiments.named("digits")(tmp_path, ("m-flow", "af"), 1, True)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert 0.5 < row["mixture AUC"] <= 1
    assert row["PCA error"] < row["M-flow error"] < 60  # four epochs learn little


def test_rolled_shapes(tmp_path, monkeypatch, capsys):
    for name, value in (("SHORT", 20), ("LONG", 20), ("CANDIDATES", 1), ("WIDE", 8)):
        monkeypatch.setattr(start, name, value)
    assert list(rolled_shapes.SHAPES) == ["swiss-roll", "s-curve", "spiral"]
    monkeypatch.setattr(rolled_shapes, "SHAPES", {"spiral": SHAPES["spiral"]})  # compiles fastest
    with pytest.warns(UserWarning, match="may be torn"):
        experiments.named("rolled-shapes")(tmp_path, ("m-flow",), 1, True)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [(row["shape"], row["seed"]) for row in rows] == [("spiral", 0)]
    assert "FAILED" in capsys.readouterr().out  # twenty steps unroll nothing


def test_jobs_run_side_by_side_and_come_back():
    assert sorted(run_jobs(abs, [(-1,), (-2,), (3,)], 2)) == [1, 2, 3]
    assert list(run_jobs(abs, [(-1,), (-2,)], 1)) == [1, 2]


def make_slowly(folder):
    folder.mkdir()
    time.sleep(0.2)


def test_after_a_job_has_failed_no_more_start(tmp_path):
    folders = [tmp_path / "absent" / "one", *(tmp_path / str(n) for n in range(20))]
    with pytest.raises(FileNotFoundError):
        list(run_jobs(make_slowly, [(folder,) for folder in folders], 2))
    made = len(list(tmp_path.iterdir()))
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) == made < 10


def test_more_seeds_than_classes_of_digits(tmp_path):
    with pytest.raises(ValueError, match="at most 10 seeds"):
        experiments.named("digits")(tmp_path / "out", ("m-flow",), 11, True)
    assert not (tmp_path / "out").exists()
