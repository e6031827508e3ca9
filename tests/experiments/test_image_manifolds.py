"""Experiments on images of a known density, in short."""

import json

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from mflows import experiments
from mflows.experiments import image_manifolds
from mflows.inference.likelihood import LogLikelihood
from mflows.simulators import Arm


def test_arm(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(image_manifolds, "TRAIN", 2000)
    monkeypatch.setattr(image_manifolds, "TEST", 400)
    monkeypatch.setattr(image_manifolds, "FEW", 2)
    monkeypatch.setattr(image_manifolds, "SETS", 1)
    experiments.named("arm")(tmp_path, quick=True)
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
