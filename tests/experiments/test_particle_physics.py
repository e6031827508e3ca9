"""The experiment on particle physics: its posteriors, its classifier, and that it runs."""

import json
from dataclasses import replace

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import Uniform
from scipy.stats import truncnorm

from mflows import experiments
from mflows.experiments import particle_physics
from mflows.experiments.particle_physics import alices, posteriors
from mflows.experiments.particle_physics.posteriors import FINE, NODES, axis, drawn
from mflows.simulators import WBFHiggs
from mflows.simulators.physics.pool import REACH, Pool

WIDTH = 1.5


class Shifted:
    """Events with two features N(theta, 1.5^2); log p is ``factor`` times the true one."""

    def __init__(self, factor: float = 1.0):
        self.factor = factor

    prior = Uniform(-jnp.full(2, REACH), jnp.full(2, REACH))

    def simulate(self, key, theta):
        x = np.zeros((len(theta), 40))
        x[:, :2] = theta + WIDTH * np.asarray(jr.normal(key, theta.shape))
        return x

    def log_prob(self, x, theta):
        off = (x[..., :2] - theta) / WIDTH
        return self.factor * (-0.5 * jnp.square(off).sum(axis=-1))


def test_a_posterior_on_the_grid_is_the_known_one():
    theta = np.array([[1.0, -4.0]])
    (found,) = drawn(jr.key(0), Shifted(), Shifted(), (theta, 4))
    (posterior,) = found.posteriors()
    mean, width = found.x[0, :, :2].mean(axis=0), WIDTH / 2
    exact = truncnorm((-REACH - mean) / width, (REACH - mean) / width, mean, width)
    at = np.random.default_rng(0).uniform(-3, 3, size=(50, 2))
    np.testing.assert_allclose(posterior.log_prob(at), exact.logpdf(at).sum(axis=1), atol=2e-3)
    assert found.log_prob()[0] == pytest.approx(exact.logpdf(theta[0]).sum(), abs=2e-3)
    grid = np.stack(np.meshgrid(axis(FINE), axis(FINE), indexing="ij"), axis=-1)
    expected = exact.logpdf(grid).sum(axis=-1)
    np.testing.assert_allclose(posterior.log_density, expected, atol=2e-3)
    draws = posterior.draw(np.random.default_rng(1), 20_000)
    np.testing.assert_allclose(draws.mean(axis=0), exact.mean(), atol=0.03)
    np.testing.assert_allclose(draws.std(axis=0), exact.std(), rtol=0.03)
    assert found.log_likelihood.shape == (1, NODES, NODES)


class Weighted(Shifted):
    """The log-likelihood of events of the library's pool, which is no polynomial of theta."""

    def __init__(self):
        events = WBFHiggs().part(0, 0)
        order = np.argsort(events["x"][:, 0])
        self.pool = Pool.of({name: events[name][order] for name in ("x", "components")})
        self.simulate = self.pool.simulate

    def log_prob(self, x, theta):
        t = jnp.concatenate([jnp.ones(1), theta, jnp.zeros(1)])
        given = jnp.asarray(self.pool.matrices)[jnp.searchsorted(self.pool.x[:, 0], x[..., 0])]
        rate = t @ jnp.asarray(self.pool.rate) @ t
        return jnp.log(jnp.einsum("i,nij,j->n", t, given, t) / (given[:, 0, 0] * rate))


def test_splines_between_the_nodes_are_near_enough():
    """Of 20 events, beside the exact log-likelihood in the middle of the nodes."""
    model, theta = Weighted(), np.array([[2.0, -3.0]])
    (found,) = drawn(jr.key(0), model, model, (theta, 20))
    between = (axis(NODES)[1:] + axis(NODES)[:-1]) / 2
    at = np.stack(np.meshgrid(between, between), axis=-1).reshape(-1, 2)
    exact = np.array([model.log_prob(found.x[0], jnp.asarray(each)).sum() for each in at])
    off = found.posteriors()[0].log_prob(at) - exact
    assert np.ptp(exact) > 3
    assert np.ptp(off) < 0.02


@pytest.mark.parametrize(("factor", "low", "high"), [(1.0, 0.82, 0.98), (9.0, 0.1, 0.7)])
def test_coverage_and_tempering_tell_a_posterior_that_is_too_narrow(
    monkeypatch, tmp_path, factor, low, high
):
    monkeypatch.setattr(posteriors, "_AT_ONCE", 256)
    found = posteriors.posterior_numbers(Shifted(factor), Shifted(), tmp_path, quick=False)
    for size in (1, 20):
        assert low < found[f"coverage_{size}"] < high
    assert found["recalibrated"] > 0.8
    assert found["tempering"] == pytest.approx(1 / factor, rel=0.35)
    assert low < found["local_lowest"] + 0.05 <= found["local_highest"] + 0.1
    assert (found["least_p_1"] < 1e-3) == (factor > 1)
    assert np.load(tmp_path / posteriors.POSTERIORS).shape == (3, NODES, NODES)
    for size in (1, 20):
        assert (tmp_path / f"calibration-{size}.png").stat().st_size > 10_000


def test_the_classifier_s_loss_is_least_at_the_true_ratio():
    """Of events x = N(theta, 1), whose joint ratio and score are those of x."""
    rng = np.random.default_rng(0)
    theta = rng.uniform(-1, 1, size=(4000, 2, 2))
    x = np.zeros((4000, 2, 40))
    x[..., :2] = rng.normal(size=theta.shape) + theta * [[1.0], [0.0]]

    def log_ratio(x, theta):
        return (x[..., :2] * theta).sum(axis=-1) - 0.5 * (theta**2).sum(axis=-1)

    examples = alices.Examples(
        x, theta, log_ratio(x, theta), x[..., :2] - theta, np.tile([0.0, 1.0], (4000, 1))
    )
    batch = alices.Examples(*(jnp.asarray(part.reshape(-1, *part.shape[2:])) for part in examples))
    losses = [
        float(alices.loss(lambda x, theta, f=factor: f * log_ratio(x, theta), batch))
        for factor in (0.0, 0.8, 1.0, 1.2)
    ]
    assert losses[2] < min(losses[1], losses[3]) < losses[0]


def test_it_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(posteriors, "_AT_ONCE", 256)
    run = experiments.named("particle-physics")
    run(tmp_path, ("pae:scandal", "alices"), quick=True, seeds=1)
    rows = {row["model"]: row for row in json.loads((tmp_path / "results.json").read_text())}
    for row in rows.values():
        assert 0 <= row["coverage_1"] <= 1
        assert -20 < row["log_posterior"] < 2
        assert row["information_c_W"] >= 0
        assert row["joint_information_c_W"] == pytest.approx(0.008, abs=0.004)
        assert "budget" not in row
    first, second = (row["joint_information_c_HWtilde"] for row in rows.values())
    assert first == second  # all are judged by the same events
    learned = rows["pae:scandal"]
    assert 0 < learned["closure"] < 10
    assert 0 < learned["reconstruction"] < 10
    for name in ("samples", "constraints", "learning", "posteriors"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert "Particle physics" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds rows of the short version"):
        run(tmp_path, seeds=1)


def test_the_error_is_measured_against_n(tmp_path):
    experiments.named("particle-physics-dimension")(tmp_path, quick=True, seeds=1)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row["n"] == "14"
    assert 0.1 < row["reconstruction"] < 10  # two epochs; the features' spread is 40^(1/2)
    assert row["reconstruction"] < row["reconstruction_q99"]
    assert (tmp_path / "reconstruction.png").stat().st_size > 10_000


def test_a_budget_is_for_experiments_that_have_one(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no budget for this experiment.*got 3 minutes"):
        experiments.named("circle")(tmp_path, budget=3.0)
    physics = experiments.named("particle-physics")
    with pytest.raises(ValueError, match="budget above 0 minutes and finite; got -1"):
        physics(tmp_path, budget=-1.0)
    seen = []

    def measure(job):
        seen.append(job.budget)
        return {"status": "finished"}

    short = replace(physics, measure=measure, prepare=None, finish=None, axes={"model": ("af",)})
    short(tmp_path, budget=2.0)
    assert seen == [2.0]
    with pytest.raises(ValueError, match="rows of a budget of 2.0 minutes, .* of 30.0 cannot"):
        short(tmp_path)
    assert particle_physics.EXPERIMENT.budget == 30.0
