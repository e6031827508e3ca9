"""The recipes on a small M-flow: each phase does its part, and leaves the other parts alone."""

import importlib
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.bijections import Affine, Chain
from flowjax.distributions import StandardNormal, Transformed
from tests.registry import SMALL, coupling, key, turned

import mflows as mf
from mflows.charts import Pad, Placement, placement_of
from mflows.models import rebuild
from mflows.training import Batch, LatentScandal, Phase, Scandal
from mflows.training.checkpoint import checkpoint_path
from mflows.training.objectives import ReconstructionAndLikelihood

fitting = importlib.import_module("mflows.training.fit")


def small_flow() -> mf.Flow:
    """A curve in the plane, of affine couplings that are quick to compile."""
    layers = [coupling(Affine(), dim=2), turned(2), coupling(Affine(), dim=2), turned(2)]
    latent = Transformed(StandardNormal((1,)), Chain([Affine(jnp.zeros(1)), Placement.identity(1)]))
    return mf.Flow(Pad(1, 2).then(Chain(layers)).then(Placement.identity(2, 1)), latent)


@pytest.fixture(scope="module")
def flow() -> mf.Flow:
    return small_flow()


@pytest.fixture(scope="module")
def arc() -> np.ndarray:
    """Points on a parabola, in units and at a place of their own."""
    t = np.random.default_rng(0).normal(size=200)
    return np.stack([100 + 20 * t, 0.03 * t**2 - 5], axis=1)


def recipe() -> list[Phase]:
    return mf.recipes.manifold_then_density(80, batch_size=20, learning_rate=2e-2)


@pytest.fixture(scope="module")
def fitted(flow, arc):
    return mf.fit(jr.key(1), flow, arc, recipe(), progress=False)


def test_manifold_then_density_learns_both(fitted, arc):
    for phase in ("manifold", "density"):
        rows = [row["validation"] for row in fitted.history if row["phase"] == phase]
        assert 25 < len(rows) <= 40
        assert min(rows) < rows[0]
    scaled = (arc - np.asarray(fitted.flow.project(arc))) / arc.std(0)
    assert np.linalg.norm(scaled, axis=1).mean() < 0.1
    assert np.isfinite(fitted.flow.log_prob(arc)).all()


def test_placements_are_those_of_the_data(flow, fitted, arc):
    chart = placement_of(fitted.flow.chart)
    np.testing.assert_allclose(np.asarray(chart.mean.tree), arc.mean(0), rtol=0.05)
    np.testing.assert_allclose(np.asarray(chart.scale.tree), arc.std(0), rtol=0.1)
    latent = placement_of(fitted.flow.latent)
    assert float(latent.scale.tree[0]) > 0.1
    assert not eqx.tree_equal(latent, placement_of(flow.latent))


def test_the_density_phase_leaves_the_manifold_bit_identical(flow, fitted, arc):
    manifold = mf.fit(jr.key(1), flow, arc, recipe()[:-1], progress=False).flow
    assert eqx.tree_equal(manifold.chart, fitted.flow.chart)
    assert not eqx.tree_equal(manifold.latent, fitted.flow.latent)


def test_alternating_takes_turns_and_learns_both(flow, arc):
    recipe = mf.recipes.alternating(80, batch_size=20, learning_rate=2e-2)
    fitted = mf.fit(jr.key(1), flow, arc, recipe, progress=False)
    assert [row["phase"] for row in fitted.history] == ["manifold", "density"] * 40
    scaled = (arc - np.asarray(fitted.flow.project(arc))) / arc.std(0)
    assert np.linalg.norm(scaled, axis=1).mean() < 0.1
    density = [row["validation"] for row in fitted.history if row["phase"] == "density"]
    assert density[-1] < density[0]


def test_simultaneous_joins_manifold_and_density_in_the_middle(flow, arc):
    recipe = mf.recipes.simultaneous(60, batch_size=20, learning_rate=2e-2)
    assert [phase.trains for phase in recipe] == [("chart",), ("chart", "latent"), ("latent",)]
    stages = [mf.fit(jr.key(1), flow, arc, recipe[:count], progress=False) for count in (1, 2, 3)]
    first, second, third = (stage.flow for stage in stages)
    assert not eqx.tree_equal(first.chart, second.chart)
    assert not eqx.tree_equal(first.latent, second.latent)
    assert eqx.tree_equal(second.chart, third.chart)
    scaled = (arc - np.asarray(third.project(arc))) / arc.std(0)
    assert np.linalg.norm(scaled, axis=1).mean() < 0.1
    assert third.log_prob(arc).mean() > first.log_prob(arc).mean()


def test_reconstruction_and_likelihood_is_their_sum(flow, arc):
    batch = Batch(jnp.asarray(arc), None)
    error = np.square(arc - np.asarray(flow.project(arc))).mean()  # not placed: scale 1
    expected = 7 * error - float(flow.log_prob(arc).mean())
    found = ReconstructionAndLikelihood(7.0)(flow, batch, jr.key(0))
    np.testing.assert_allclose(float(found), expected, rtol=1e-8)


def deepened(key, flow, batch):
    """Start with another flow than the one that was given, as unrolling does."""
    return rebuild(key, flow.built, chart_layers=3)


@dataclass(frozen=True)
class Shrink:
    """Squared length of all parameters of the chart."""

    def __call__(self, flow, batch, key):
        return sum(
            jnp.sum(leaf**2)
            for leaf in jax.tree.leaves(eqx.filter(flow.chart, eqx.is_inexact_array))
        )


def test_a_phase_that_started_from_another_flow_resumes(arc, tmp_path, monkeypatch):
    phase = Phase(Shrink(), ("chart",), 3, batch_size=50, start=deepened)
    flow = mf.models.m_flow(key(0), (2,), 1, chart_layers=2, latent_layers=1, **SMALL)

    def run(folder, resume=False):
        return mf.fit(jr.key(2), flow, arc, [phase], folder=folder, resume=resume, progress=False)

    whole = run(None)
    genuine = fitting.write_checkpoint

    def write_and_stop(*arguments):
        genuine(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert checkpoint_path(tmp_path).is_file()
    resumed = run(tmp_path, resume=True)
    assert '"chart_layers": 3' in resumed.flow.built[1]
    assert resumed.flow.built == whole.flow.built
    assert eqx.tree_equal(resumed.flow, whole.flow)


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_recipes_split_their_epochs(epochs):
    either, density = mf.recipes.manifold_then_density(epochs)
    manifold, unrolled = either.phases
    assert manifold.epochs == unrolled.epochs == max(epochs // 2, 1)
    assert manifold.epochs + density.epochs == max(epochs, 2)
    assert manifold.trains == unrolled.trains == ("chart",)
    assert density.trains == ("latent",)
    (turns,) = mf.recipes.alternating(epochs)
    assert turns.rounds == max(epochs // 2, 1)
    assert sum(phase.epochs for phase in mf.recipes.simultaneous(epochs)) == max(epochs, 3)
    for recipe in (mf.recipes.maximum_likelihood, mf.recipes.optimal_transport):
        (whole,) = recipe(epochs)
        assert whole.epochs == epochs
        assert set(whole.trains) == {"chart", "latent"}
    (turns,) = mf.recipes.alternating_optimal_transport(epochs, batch_size=500)
    assert turns.rounds == max(epochs // 2, 1)
    assert [phase.trains for phase in turns.phases] == [("chart", "latent"), ("latent",)]
    assert [phase.batch_size for phase in turns.phases] == [500, 50]
    assert [phase.epochs for phase in turns.phases] == [1, 1]
    scandal = mf.recipes.scandal(epochs, weight=3.0)
    assert [scandal[0].phases[0].epochs, scandal[1].epochs] == [manifold.epochs, density.epochs]
    assert scandal[-1].objective == LatentScandal(3.0)
    (likelihood,) = mf.recipes.maximum_likelihood(epochs)
    (whole,) = mf.recipes.scandal_likelihood(epochs, weight=3.0)
    assert whole == replace(likelihood, objective=Scandal(3.0))


@pytest.mark.parametrize(
    ("epochs", "asked", "patience"), [(50, None, 25), (910, None, 91), (910, 7, 7)]
)
def test_phases_of_many_epochs_stop_early(epochs, asked, patience):
    either, density = mf.recipes.manifold_then_density(epochs, patience=asked)
    phases = [*either.phases, density]
    phases += mf.recipes.maximum_likelihood(epochs // 2, patience=asked)
    assert {phase.patience for phase in phases} == {patience}
