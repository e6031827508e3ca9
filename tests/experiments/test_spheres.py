"""The experiments on circle and spheres: their numbers, from flows that know the answer."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.distributions import StandardNormal

import mflows as mf
from mflows import experiments
from mflows.charts import BijectionChart, Placement
from mflows.experiments import circle, spheres
from mflows.latents import UniformTorus
from mflows.simulators import GaussianSphere


def test_the_gap_of_a_uniform_density_on_the_circle_is_its_divergence():
    """KL from the wrapped normal to the uniform density: log 2 pi minus the entropy."""
    flow = mf.Flow(mf.charts.Circle(), UniformTorus(1))
    simulator = GaussianSphere(1)
    found = spheres.measure(flow, simulator, simulator)
    angles = np.linspace(-np.pi, np.pi, 4001)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    truth = np.asarray(simulator.log_prob(x))
    divergence = np.trapezoid(np.exp(truth) * (truth + np.log(2 * np.pi)), angles)
    assert found["log_density_gap"] == pytest.approx(divergence, abs=0.03)
    assert found["sample_distance_max"] < 1e-10
    assert found["reconstruction_max"] < 1e-10


def test_an_ambient_density_is_compared_in_space_and_with_noise_only():
    flow = mf.Flow(BijectionChart(Placement.identity(2)), StandardNormal((2,)))
    exact, noisy = GaussianSphere(1), GaussianSphere(1, noise=0.1)
    assert "log_density_gap" not in spheres.measure(flow, exact, exact)
    found = spheres.measure(flow, noisy, exact)
    test = spheres.held_out(noisy)
    expected = np.mean(np.asarray(noisy.log_prob(test.x) - flow.log_prob(test.x)))
    assert found["log_density_gap"] == pytest.approx(expected)
    assert "reconstruction" not in found


def test_circle(tmp_path, capsys):
    replace(circle.EXPERIMENT, quick={"noise": ("0",)})(tmp_path, ("fom",), 1, True)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert (row["model"], row["noise"], row["status"]) == ("fom", "0", "finished")
    assert 0 < row["log_density_gap"] < 1.5  # two epochs learn little
    assert (tmp_path / "densities.png").stat().st_size > 10_000
    assert "Gaussian on a circle" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "within"), [("sphere", 2.5), ("conditional-sphere", 3.5)])
def test_spheres(name, within, tmp_path):
    experiments.named(name)(tmp_path, ("fom",), 1, True)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["noise"] for row in rows] == ["0", "0.01"]
    assert all(0 < row["log_density_gap"] < within for row in rows)
    assert rows[0]["reconstruction"] < 1e-6 < rows[1]["reconstruction"] < 0.02


def test_test_points_have_their_own_theta():
    data = spheres.held_out(mf.simulators.ConditionalSphere())
    assert data.condition is not None
    assert len(np.unique(data.condition, axis=0)) == len(data)
    np.testing.assert_allclose(jnp.linalg.norm(data.x, axis=1), 1, rtol=1e-6)
