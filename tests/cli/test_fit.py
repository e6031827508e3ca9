import json

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from tests import tiny

from mflows import runs, simulators
from mflows.cli.fit import _now_and_then
from mflows.systems import SYSTEMS
from mflows.training import TrainingDiverged


def test_fit_says_how_good_it_is_and_what_comes_next(fitted, table):
    folder, said = fitted
    assert "reconstruction error" in said
    assert "log_prob" in said
    assert f"mflows report {folder}" in said
    config = json.loads((folder / "config.json").read_text())
    assert config["data"] == str(table)
    assert config["settings"] == tiny.SETTINGS


def test_fit_of_an_ambient_flow(command, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = "layers=1,bins=3,width=4"
    result = command("fit", table, "--model", "af", "--set", settings, "--epochs", "2")
    assert result.exit_code == 0, result.output
    run = runs.open_run(tmp_path / "runs" / "curve")
    assert run.config.recipe == "maximum-likelihood"
    assert run.flow.latent_dim == 3
    assert "reconstruction error" not in result.stdout
    assert command("report", run.folder).exit_code == 0
    page = (run.folder / "report.html").read_text()
    assert "a density with respect to volume in the space of the data" in page
    assert "distance to the manifold" not in page


def test_fit_of_a_system_without_density_says_how_far_off_it_is(command, table, tmp_path):
    options = ("--model", "vae", "-d", 1, "--set", "width=4,blocks=1", "--epochs", 1)
    result = command("fit", table, *options, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "reconstruction error" in result.stdout
    assert "log_prob (nats)" not in result.stdout


def test_help_names_every_system_and_recipe(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("fit", "sweep"):
        said = command(name, "--help").stdout
        for row in SYSTEMS.values():
            assert f"• {row.name}:" in said
            assert all(recipe in said for recipe in row.recipes)


def test_fit_on_a_prescribed_circle_finds_the_density(command, tmp_path):
    table, out = tmp_path / "circle.csv", tmp_path / "run"
    assert command("data", "circle", "-n", 2000, "--out", table).exit_code == 0
    settings = "manifold=circle,layers=2,bins=6,width=4"
    options = ("--epochs", 40, "--learning-rate", 0.02, "--out", out)
    result = command("fit", table, "--model", "fom", "--set", settings, *options)
    assert result.exit_code == 0, result.output
    flow = runs.open_run(out).flow
    circle = simulators.named("circle")
    x = circle.simulate(jr.key(9), jnp.zeros((2000, 0)))
    assert 0 < np.mean(circle.log_prob(x) - flow.log_prob(x)) < 0.02
    np.testing.assert_allclose(flow.distance(x), 0, atol=1e-9)
    assert command("report", out).exit_code == 0
    assert "Prescribed manifold on circle.csv" in (out / "report.html").read_text()


def test_resume_takes_the_settings_of_the_run(command, run):
    before = (run / "flow.safetensors").read_bytes()
    result = command("fit", "--resume", "--out", run)
    assert result.exit_code == 0, result.output
    assert (run / "flow.safetensors").read_bytes() == before
    result = command("fit", "--resume", "--out", run, "--epochs", "50")
    assert result.exit_code == 2
    assert "was started with epochs 40; got 50" in result.stderr


def test_an_interrupt_says_how_to_go_on(command, table, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train", interrupted)
    result = command("fit", table, "--out", tmp_path / "my run", *tiny.options())
    assert result.exit_code == 130
    assert f"mflows fit --resume --out '{tmp_path}/my run'" in result.stderr


def test_divergence_is_one_line_and_status_1(command, table, tmp_path, monkeypatch):
    def diverges(folder, config, **_):
        flow, phases, _ = config.resolved(54).setup(runs.run.read_data(config)[0])
        raise TrainingDiverged(phases[-1], 3, float("nan"), flow, [])

    monkeypatch.setattr(runs, "train", diverges)
    result = command("fit", table, "--out", tmp_path / "run", *tiny.options())
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "diverged in phase 'density', epoch 3" in result.stderr


def test_a_defect_of_ours_keeps_its_traceback(command, table, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise TypeError("a defect")

    monkeypatch.setattr(runs, "train", broken)
    result = command("fit", table, "--out", tmp_path / "run", *tiny.options())
    assert isinstance(result.exception, TypeError)


def test_where_no_progress_is_shown_a_line_says_so_now_and_then(capsys):
    row = {"phase": "density", "epoch": 3, "train": -1.0, "validation": -0.5}
    _now_and_then(pause=3600.0)(row)
    assert capsys.readouterr().err == ""
    _now_and_then(pause=0.0)(row)
    assert capsys.readouterr().err == "density: epoch 3, train -1, validation -0.5\n"
