"""Every system by every command, on tables as small as can be.

Those of the command line have a condition, the estimators none.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest
from tests import tiny

from mflows import runs
from mflows.cli.options import literal
from mflows.data import load, save_array
from mflows.estimator import ManifoldFlow
from mflows.systems import SYSTEMS, system
from mflows.verdict import Doubt

SETTINGS = {
    "m-flow": "chart_layers=1,latent_layers=1,bins=3,width=4,affine=true",
    "me-flow": "chart_layers=1,latent_layers=1,bins=3,width=4,affine=true,"
    "encoder_width=4,encoder_blocks=1",
    "pae": "width=4,blocks=1,latent_layers=1,bins=3",
    "ripf": "width=4,blocks=1,latent_layers=1,bins=3",
    "vae": "width=4,blocks=1",
    "gan": "width=4,blocks=1,starts=4",
    "pie": "chart_layers=1,latent_layers=1,bins=3,width=4,affine=true",
    "af": "layers=1,bins=3,width=4",
    "fom": "layers=1,bins=3,width=4,manifold=sphere",
}


def test_every_system_is_tried():
    assert SETTINGS.keys() == SYSTEMS.keys() - {"posterior-flow"}  # which test_posterior.py tries


def options(name: str, *more: str) -> list[str]:
    given = ["--model", name, "--set", SETTINGS[name], "--epochs", "2", "--batch-size", "20", *more]
    return [*given, "--latent-dim", "1"] if system(name).takes_latent_dim else given


def table(folder: Path, name: str, conditional: bool) -> Path:
    path = folder / "table.npz"
    if name != "fom":
        return tiny.write_table(path, conditional=conditional)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(tiny.ROWS, 3))
    more = {"theta": rng.uniform(-1, 1, size=(tiny.ROWS, 1))} if conditional else {}
    save_array(path, x / np.linalg.norm(x, axis=1, keepdims=True), ("a", "b", "c"), more=more)
    return path


@pytest.mark.parametrize(
    ("name", "conditional"), [*((name, True) for name in SETTINGS), ("m-flow", False)]
)
def test_a_system_by_every_command(command, tmp_path, name, conditional):
    data, run = table(tmp_path, name, conditional), tmp_path / "run"
    given = ["--condition", "theta"] if conditional else []

    def done(*arguments):
        result = command(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    said = done("fit", data, "--out", run, *options(name, *given))
    assert "Verdict: " in said
    assert ("log_prob (nats)" in said) == (name != "vae")
    hint = next(line for line in said.splitlines() if "mflows sample" in line).split()
    assert ("--condition" in hint) == conditional
    done("fit", "--resume", "--out", run)

    done("score", run, data, "--out", tmp_path / "scores.csv")
    scores = load(tmp_path / "scores.csv")
    bound = name == "vae"
    assert scores.names == ("log_prob_bound" if bound else "log_prob", "distance")
    assert len(scores) == tiny.ROWS

    at = ["--condition", "theta=0.5"] if conditional else []
    done("sample", run, "-n", 30, *at, "--out", tmp_path / "samples.csv")
    assert len(load(tmp_path / "samples.csv", columns=["a", "b", "c"])) == 30
    for nearest in ([], ["--nearest"]):
        done("project", run, data, "--out", tmp_path / "projected.npy", *nearest)
        assert load(tmp_path / "projected.npy").x.shape == (tiny.ROWS, 3)
    done("report", run)
    assert (run / "report.html").stat().st_size > 100_000
    assert runs.open_run(run).config.model == name

    search = ("--search", "learning_rate=0.001..0.002", "--trials", "1")
    done("sweep", data, "--out", tmp_path / "sweep", *search, *options(name, *given))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_system_by_the_estimator(tmp_path, name):
    pairs = (pair.split("=") for pair in SETTINGS[name].split(","))
    settings = {key: literal(value) for key, value in pairs}
    n = 1 if system(name).takes_latent_dim else None
    est = ManifoldFlow(n, model=name, settings=settings, epochs=2, batch_size=20, random_state=0)
    x = load(table(tmp_path, name, conditional=False)).x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Doubt)
        est.fit(x)
    assert est.sample(5).shape == (5, 3)
    assert est.project(x).shape == x.shape
    if name != "vae":
        assert np.isfinite(est.score_samples(x)).all()
