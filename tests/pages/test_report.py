"""What a report takes from a run: the truth of any simulator that can tell it."""

import jax
import numpy as np
import pytest
from tests import tiny

from mflows import runs, simulators
from mflows.pages.report import content

TRUTHS = {
    "swiss-roll": (2, "surface"),
    "spiral": (1, "curve"),
    "circle": (1, None),
    "lorenz": (2, None),
}


def untrained(folder, x: np.ndarray, **changes) -> runs.Run:
    """A run on points ``x`` whose flow is as it was built."""
    path = folder / "data.npz"
    np.savez(path, x=x)
    config = tiny.config(path, **changes).resolved(len(x))
    data, source = runs.run.read_data(config)
    return runs.Run(folder, config, source, config.setup(data).flow, [], {})


@pytest.mark.parametrize("simulator", TRUTHS)
def test_the_truth_is_told_by_simulators_that_can(tmp_path, monkeypatch, simulator):
    monkeypatch.setattr("mflows.pages.report.GRID", 5)
    monkeypatch.setattr("mflows.pages.report.STEPS", 6)
    latent_dim, kind = TRUTHS[simulator]
    # Trajectories are long, however few points are asked for.
    brief = {"lorenz": simulators.Lorenz(trajectories=2, start=0.0, end=9.0)}
    known = brief.get(simulator, simulators.named(simulator))
    x = np.asarray(known.simulate(jax.random.key(0), np.zeros((60, 0))))
    run = untrained(tmp_path, x, latent_dim=latent_dim, simulator=simulator)
    (view,) = content(run).views
    if kind is None:
        assert view.truth is None
        return
    assert view.truth is not None
    assert view.truth.kind == kind
    assert isinstance(known, simulators.HasDistance)
    assert np.asarray(known.distance(view.truth.x)).max() < 1e-5
    assert np.isfinite(view.truth.log_prob).all()


def test_images_are_projected_and_sampled_in_their_shape(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4, 4, 1))
    shown = content(untrained(tmp_path, x, model="pae", latent_dim=2, settings={"width": 4}))
    assert shown.held_out is not None
    assert shown.samples is not None
    assert shown.projections is not None
    assert shown.held_out.x.shape == shown.samples.shape == shown.projections.shape == (6, 4, 4, 1)
    assert not shown.names
    assert shown.summary["dimension"] == "n = 2 in D\u00a0=\u00a016"
