"""Images (N, H, W, C): the commands take them, and give them back in their shape."""

import json

import numpy as np
import pytest
from tests import tiny
from tests.simulators import generators

from mflows import runs
from mflows.data import load, save_array
from mflows.simulators import ConditionalFaces, dcgan

SHAPE = (3, 2, 1)
OPTIONS = ("--model", "pae", "-d", 1, "--epochs", 4, "--set", "width=4,blocks=1,latent_layers=1")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images on a curve, with a constant border."""
    t = np.random.default_rng(0).normal(size=60)
    x = np.stack([t, np.sin(t), t**2, np.cos(t), 0 * t, 0 * t + 1], axis=1)
    return save(tmp_path_factory.mktemp("images") / "images.npz", x.reshape(-1, *SHAPE))


def save(path, x):
    save_array(path, x)
    return path


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    from tests.cli.conftest import mflows

    folder = tmp_path_factory.mktemp("runs") / "images"
    result = mflows("fit", images, "--out", folder, *OPTIONS)
    assert result.exit_code == 0, result.output
    return folder


def test_a_run_of_images(run):
    source = json.loads((run / "config.json").read_text())["source"]
    assert (source["shape"], source["names"]) == (list(SHAPE), [])
    opened = runs.open_run(run)
    assert opened.source.shape == opened.flow.shape == SHAPE
    kept, held_out = opened.split()
    assert (kept.x.shape, held_out.x.shape) == ((54, *SHAPE), (6, *SHAPE))
    assert opened.score(held_out).distance.shape == (6,)


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_commands_for_images(command, run, images, tmp_path, suffix):
    new = save(tmp_path / f"new{suffix}", load(images).x[:7])
    out = tmp_path / f"out{suffix}"
    for name, given, rows in (
        ("sample", ("-n", 5), 5),
        ("project", (new,), 7),
        ("project", (new, "--nearest"), 7),
    ):
        result = command(name, run, *given, "--out", out)
        assert result.exit_code == 0, result.output
        assert load(out).x.shape == (rows, *SHAPE)
    result = command("score", run, new, "--out", tmp_path / "scores.csv")
    assert result.exit_code == 0, result.output
    assert load(tmp_path / "scores.csv").names == ("log_prob", "distance")


def test_what_does_not_fit_images_is_refused(command, run, tmp_path):
    other = save(tmp_path / "other.npy", np.ones((4, 2, 3, 1)))
    for name, given, message in (
        ("score", (other, "--out", tmp_path / "s.csv"), "expected points of shape (3, 2, 1)"),
        ("sample", ("--out", tmp_path / "s.csv"), "Write them to a .npy, .npz or .h5 file"),
    ):
        result = command(name, run, *given)
        assert result.exit_code != 0
        assert message in " ".join(result.output.split())
    table = tiny.write_table(tmp_path / "t.csv")
    assert "got (3,)" in " ".join(
        command("project", run, table, "--out", tmp_path / "p.npy").output.split()
    )


def test_simulated_images_come_with_what_is_known_of_them(command, tmp_path, monkeypatch):
    monkeypatch.setattr(dcgan, "faces", generators.faces)
    out = tmp_path / "faces.npz"
    result = command("simulate", "conditional-faces", "-n", 3, "--seed", 2, "--out", out)
    assert result.exit_code == 0, result.output
    with np.load(out) as file:
        arrays = dict(file)
    assert {name: array.shape for name, array in arrays.items()} == {
        "x": (3, 64, 64, 3), "theta": (3, 1), "z": (3, 64), "joint_score": (3, 1)
    }  # fmt: skip
    faces = ConditionalFaces()
    np.testing.assert_allclose(faces.embed(arrays["z"]), arrays["x"], atol=1e-12)
    score = faces.joint_score(arrays["z"], arrays["theta"])
    np.testing.assert_allclose(score, arrays["joint_score"], atol=1e-12)
    assert load(out, condition=["theta"]).x.shape == (3, 64, 64, 3)

    result = command("simulate", "faces", "-n", 3, "--out", tmp_path / "faces.csv")
    assert result.exit_code == 2
    assert "expected a .npz, .h5 or .npy file for points of shape (64, 64, 3)" in result.stderr
    assert command("simulate", "faces", "-n", 3, "--out", tmp_path / "faces.npy").exit_code == 0
    assert np.load(tmp_path / "faces.npy").shape == (3, 64, 64, 3)
