"""Experiments on images of a known density, in short."""

import json

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import Normal
from PIL import Image
from scipy.stats import norm
from tests.simulators import generators

from mflows import Flow, experiments
from mflows.charts import Pad
from mflows.data import DataError
from mflows.experiments import gan2d, gan64d, image_folder, image_manifolds
from mflows.inference.likelihood import LogLikelihood
from mflows.simulators import Arm, ConditionalFaces, Faces, dcgan


def test_arm(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(image_manifolds, "TRAIN", 2000)
    monkeypatch.setattr(image_manifolds, "TEST", 400)
    monkeypatch.setattr(image_manifolds, "SETS", 1)
    experiments.named("arm")(tmp_path, ("pae",), quick=True)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row["status"] == "finished"
    numbers = (
        "reconstruction",
        "gap",
        "off",
        "frechet",
        "kernel",
        "auc",
        "log_posterior",
        "seconds",
    )
    assert np.isfinite([row[name] for name in numbers]).all()
    assert row["features"] == "20 principal components"  # of 20 images
    assert (tmp_path / "2.png").is_file()
    assert "Arm: images of a known density" in capsys.readouterr().out


class Exact(LogLikelihood):
    """The likelihood of coordinates."""

    def each(self, theta):
        density = jnp.vectorize(Arm(2, 8).latent_log_prob, signature="(n),(k)->()")
        return density(self.points, theta) - 3e8


def test_the_posterior_of_the_true_density_is_the_truth_s(monkeypatch):
    monkeypatch.setattr(image_manifolds, "log_likelihood", lambda known, x: Exact(known.unembed(x)))
    monkeypatch.setattr(image_manifolds, "SETS", 1)
    arm = Arm(2, 8)
    row = image_manifolds._posteriors(arm, arm, jr.key(0))
    assert row["log_posterior"] == pytest.approx(row["true_log_posterior"], abs=1e-3)


def test_faces_of_both_experiments(monkeypatch):
    monkeypatch.setattr(dcgan, "faces", generators.faces)
    for module, kind, n in ((gan2d, Faces, 2), (gan64d, ConditionalFaces, 64)):
        made = module.EXPERIMENT.measure.keywords
        truth, others = (made[name]({"size": "32"}, False) for name in ("make", "strange"))
        assert (type(truth), truth.latent_dim) == (kind, n)
        assert truth.shape == others.shape == (32, 32, 3)
        assert made["make"]({"size": "32"}, True).shape == (16, 16, 3)


def test_numbers_of_images_on_a_known_plane():
    """Two of four pixels are the plane, the others are .1 off it, and outliers .3."""
    flow = Flow(Pad(2, (2, 2, 1)), Normal(jnp.zeros(2)))
    rng = np.random.default_rng(0)
    on = rng.normal(size=(3, 200, 4)) * [1, 1, 0, 0]
    train, x, others = (on + np.array([0.1, 0.1, 0.3])[:, None, None] * [0, 0, 1, 1]).reshape(
        3, 200, 2, 2, 1
    )
    row, log_prob = image_manifolds.by_images(flow, train, x, others)
    np.testing.assert_allclose(log_prob, norm.logpdf(on[1, :, :2]).sum(1))
    spread = np.sqrt(np.var(on[1, :, :2], axis=0).sum() / 4)
    assert row["reconstruction"] == pytest.approx(np.sqrt(2 * 0.1**2 / 4) / spread)
    assert row["auc"] == 1
    assert 0.3 < row["auc_log_prob"] < 0.7  # they lie alike on the plane
    assert row["auc_log_prob"] < row["auc_both"] <= 1


def test_image_folder(tmp_path, capsys):
    experiments.named("image-folder")(tmp_path, quick=True)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row["status"] == "finished"
    names = ("reconstruction", "auc", "auc_log_prob", "auc_both", "frechet", "seconds", "pca_auc")
    assert np.isfinite([row[name] for name in names]).all()
    assert 0 < row["pca_reconstruction"] < 1
    assert (tmp_path / "digits-2.png").is_file()
    assert "Real pictures" in capsys.readouterr().out


def test_pictures_of_a_folder_are_on_one_side_each(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(30):
        Image.fromarray(rng.integers(256, size=(40, 32, 3), dtype=np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    sets = image_folder._levels(str(tmp_path), 0, False)
    assert [len(part) for part in sets.values()] == [27, 3, 3]
    assert len(np.unique(np.concatenate([sets["train"], sets["test"]]), axis=0)) == 30
    assert sets["others"].shape[1:] == (32, 32, 3)


def test_too_few_pictures(tmp_path):
    for i in range(3):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match="Expected at least 20 pictures"):
        image_folder._levels(str(tmp_path), 0, False)


def test_a_class_is_left_out_of_the_digits():
    digits = image_folder.pictures("digits")
    sets = image_folder._levels("digits", 3, False)
    known = {picture.tobytes(): label for picture, label in zip(*digits, strict=True)}
    assert {known[each.tobytes()] for each in sets["others"]} == {3}
    assert 3 not in {known[each.tobytes()] for each in sets["train"]}


def test_components_are_scikit_learn_s_by_another_way():
    """The error of n components is that of the singular vectors left out."""
    x = np.random.default_rng(1).normal(size=(50, 3, 2, 1)).astype(np.float32)
    row = image_folder._components(2, x, x, x + 9)
    flat = x.reshape(50, -1) - x.reshape(50, -1).mean(0)
    left = np.linalg.svd(flat, compute_uv=False)[2:]
    expected = np.sqrt(np.square(left).sum() / np.square(flat).sum())
    assert row["pca_reconstruction"] == pytest.approx(expected, rel=1e-5)


def test_values_of_an_axis(tmp_path):
    arm = experiments.named("arm")
    with pytest.raises(ValueError, match="Expected an axis out of: joints; got 'joint'"):
        arm(tmp_path, only={"joint": ["2"]})
    spheres = experiments.named("circle")
    with pytest.raises(ValueError, match=r"Expected values of noise out of: 0, 0.01; got 0.1\."):
        spheres(tmp_path, only={"noise": ["0.1"]})
    assert arm._axes(None, {"joints": ["8"]}, quick=False)["joints"] == ("8",)
