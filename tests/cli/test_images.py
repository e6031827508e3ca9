"""Images (N, H, W, C): the commands take them, and give them back in their shape."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from tests import tiny
from tests.simulators import generators

from mflows import runs
from mflows.data import load, save_array, to_levels
from mflows.data.pictures import COLLECTIONS
from mflows.runs.run import read_data
from mflows.runs.source import parts_of
from mflows.simulators import ConditionalFaces, dcgan, onnx_generator

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


def folder_of(path, mode: str, count: int = 3):
    path.mkdir()
    for number in range(count):
        Image.new(mode, (4 + number, 9), 40 * number).save(path / f"{number}.png")
    return path


@pytest.mark.filterwarnings("always")
def test_pictures_of_a_folder_are_brought_to_the_size_of_the_model(command, run, tmp_path):
    pictures, out = folder_of(tmp_path / "grey", "L"), tmp_path / "out.npy"
    (pictures / "damaged.png").write_bytes(b"no picture")
    result = command("project", run, pictures, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("Warning: grey: 1 of 4 pictures could not be read and are left")
    note = "grey: 3 pictures, grey, centre-cropped and resized to 3 x 2; level k as (k + 1/2) / 256"
    assert f"{note}; 1 could not be read." in result.stdout
    assert load(out).x.shape == (3, *SHAPE)


def test_pictures_in_colour_are_refused_by_a_grey_model(command, run, tmp_path):
    pictures, out = folder_of(tmp_path / "red", "RGB"), tmp_path / "scores.csv"
    result = command("score", run, pictures, "--out", out)
    assert result.exit_code == 2
    message = "red: expected grey pictures for this model, shape (3, 2, 1); got 2 in colour"
    assert f"{message} ('1.png', '2.png')." in " ".join(result.stderr.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--size", 0), "Expected a size of pictures from 1 to 1,024 pixels; got 0."),
        (("--size", 5000), "Expected a size of pictures from 1 to 1,024 pixels; got 5000."),
        (("--size", 8), "t.csv: expected a folder of pictures to resize to 8 x 8; got another"),
        (("--flips",), "Expected pictures, points of shape (H, W, C), for flips; got rows of 3"),
        (("--dequantise",), "Expected pictures, points of shape (H, W, C), for dequantise; got"),
        (("--network", "transformer"), "for transformer networks, which see what is beside what"),
        (("--network", "perceptron"), "'perceptron' is not one of 'dense', 'convolutional'"),
        (("--model", "fom", "--network", "dense"), "--network with a model out of m-flow, me-flow"),
    ],
)
def test_options_for_pictures_are_refused_for_a_table(command, tmp_path, given, message):
    table, out = tiny.write_table(tmp_path / "t.csv"), tmp_path / "run"
    result = command("fit", table, "--out", out, *OPTIONS, *given)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not out.exists()


def test_a_config_says_what_is_done_to_pictures(tmp_path):
    """The same parts come again, and their points are still the pictures."""
    pictures = folder_of(tmp_path / "grey", "L", count=6)
    config = runs.Config(str(pictures), latent_dim=1, size=4, dequantise=True, flips=True, seed=3)
    data, source = read_data(config)
    assert (source.shape, source.rows, source.names) == ((4, 4, 1), 6, ())
    first, again = parts_of(config, data), parts_of(config, data)
    assert (len(first.kept), len(first.held_out)) == (10, 1)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
    plain = data.split(config.validation_fraction, seed=3)
    np.testing.assert_array_equal(to_levels(first.kept.x[:5]), to_levels(plain.kept.x))
    np.testing.assert_array_equal(to_levels(first.kept.x[5:]), to_levels(plain.kept.x[:, :, ::-1]))
    assert [note.split()[0] for note in first.kept.notes] == ["grey:", "Beside", "Levels"]
    assert not np.array_equal(first.kept.x[:5, 0], first.kept.x[5:, 0])  # noise of its own


def test_collections_are_written_as_levels_with_labels(command, tmp_path):
    out = tmp_path / "digits.npz"
    result = command("pictures", "digits", "--out", out)
    assert result.exit_code == 0, result.output
    assert "Wrote 1,797 pictures of 8 x 8 x 1" in result.stdout
    with np.load(out) as arrays:
        assert (arrays["x"].dtype, arrays["x"].max()) == (np.uint8, 255)
        assert set(arrays["label"]) == set(range(10))
    result = command("pictures", "digits", "--out", tmp_path / "digits.csv")
    assert "digits.csv: expected a .npz or .h5 file for pictures" in result.stderr
    assert load(out, condition=("label",)).cond_shape == (1,)
    words = command("pictures", "--help").stdout
    assert all(name in words for name in COLLECTIONS)


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
    score = jax.vmap(jax.grad(faces.latent_log_prob, 1))(arrays["z"], arrays["theta"])
    np.testing.assert_allclose(score, arrays["joint_score"], atol=1e-12)
    assert load(out, condition=["theta"]).x.shape == (3, 64, 64, 3)

    result = command("simulate", "faces", "-n", 3, "--out", tmp_path / "faces.csv")
    assert result.exit_code == 2
    assert "expected a .npz, .h5 or .npy file for points of shape (64, 64, 3)" in result.stderr
    assert command("simulate", "faces", "-n", 3, "--out", tmp_path / "faces.npy").exit_code == 0
    assert np.load(tmp_path / "faces.npy").shape == (3, 64, 64, 3)


def test_points_of_an_onnx_file(command, tmp_path):
    from tests.pretrained import onnx_files

    path, out = (
        onnx_files.dcgan(tmp_path / "g.onnx", generators.arrays(6, 5, 3)),
        tmp_path / "g.npz",
    )
    result = command("simulate", f"{path}+signed", "-d", 3, "-n", 4, "--out", out)
    assert result.exit_code == 0, result.output
    manifold = onnx_generator(path, 3, signed=True)
    with np.load(out) as arrays:
        assert set(arrays) == {"x", "z"}
        np.testing.assert_allclose(manifold.embed(arrays["z"]), arrays["x"], atol=1e-12)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no network")
    for name, dim, message in (
        (path, 7, "Expected 1 <= latent_dim <= 6; got 7."),
        (damaged, 2, "damaged.onnx is no ONNX file that can be read:"),
        (tmp_path / "gone.onnx", 2, "gone.onnx is not there."),
        ("arm", 2, "Expected settings of 'arm' out of joints=NUMBER, size=NUMBER; got 'latent_dim"),
    ):
        result = command("simulate", name, "-d", dim, "--out", tmp_path / "none.npz")
        assert result.exit_code == 2, result.output
        assert message in " ".join(result.stderr.split())
        assert not (tmp_path / "none.npz").exists()


def test_the_network_of_a_model_is_an_option(command, tmp_path):
    """Of a VAE, which compiles soonest; going on with a run takes the option too."""
    images = save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 6, 6, 1)))
    given = ("--out", tmp_path / "run", "--network", "transformer")
    more = ("--model", "vae", "-d", 2, "--epochs", 1, "--set", "width=4,blocks=1")
    for arguments in ((images, *given, *more), ("--resume", *given, "--set", "width=4,blocks=1")):
        result = command("fit", *arguments)
        assert result.exit_code == 0, result.output
    opened = runs.open_run(tmp_path / "run")
    assert opened.config.settings["network"] == "transformer"
    assert opened.flow.project(load(images).x[:3]).shape == (3, 6, 6, 1)


def test_features_of_a_folder(command, tmp_path, monkeypatch):
    """The network is a small stand-in; labels are the folders that pictures lie in."""
    seen = []

    def features(images, network, *, size):
        seen.append(size)
        return images.mean(axis=(1, 2))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("mflows.nets.efficientnet.efficientnet_lite0", lambda: None)
    monkeypatch.setattr("mflows.nets.efficientnet.image_features", features)
    (tmp_path / "pets").mkdir()
    for name in ("cats", "dogs"):
        folder_of(tmp_path / "pets" / name, "L")
    out = tmp_path / "embeddings.npz"
    result = command("pictures", tmp_path / "pets", "--features", "--size", 9, "--out", out)
    assert result.exit_code == 0, result.output
    assert "Wrote 6 rows of 1 features, of pictures at 9 x 9," in result.stdout
    with np.load(out) as found:
        np.testing.assert_allclose(found["x"][:3, 0] * 256, [0.5, 40.5, 80.5])
        assert list(found["label"]) == [0, 0, 0, 1, 1, 1]
    assert load(out).names == ("x0",)
    result = command("pictures", "digits", "--features", "--out", out)
    assert result.exit_code == 0, result.output
    assert (load(out).x.shape, set(seen)) == ((1797, 1), {9, 224})


def test_pictures_of_a_folder_as_a_file(command, tmp_path):
    out = tmp_path / "pictures.npz"
    result = command("pictures", folder_of(tmp_path / "grey", "L"), "--out", out)
    assert result.exit_code == 0, result.output
    assert "Wrote 3 pictures of 32 x 32 x 1" in result.stdout
    assert load(out).shape == (32, 32, 1)
    result = command("pictures", "digits", "--size", 4, "--out", out)
    assert result.exit_code == 2
    assert "no size for 'digits', whose pictures have one" in " ".join(result.stderr.split())
