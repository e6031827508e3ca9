"""What a report takes from a run: the truth of any simulator that can tell it."""

import jax
import numpy as np
import pytest
from tests import tiny

from mflows import runs, simulators
from mflows.data import save_array
from mflows.pages.report import content

TRUTHS = {
    "swiss-roll": (2, "surface"),
    "spiral": (1, "curve"),
    "circle": (1, None),
    "lorenz": (2, None),
}


def untrained(folder, simulator: str, latent_dim: int) -> runs.Run:
    """A run whose flow is as it was built."""
    x = np.asarray(simulators.named(simulator).simulate(jax.random.key(0), np.zeros((60, 0))))
    path = folder / "data.npz"
    save_array(path, x, tuple("abc")[: x.shape[1]])
    config = tiny.config(path, latent_dim=latent_dim, simulator=simulator).resolved(54)
    data, source = runs.source.read(config)
    return runs.Run(folder, config, source, config.setup(data).flow, [], {})


@pytest.mark.parametrize("simulator", TRUTHS)
def test_the_truth_is_told_by_simulators_that_can(tmp_path, monkeypatch, simulator):
    monkeypatch.setattr("mflows.pages.report.GRID", 5)
    monkeypatch.setattr("mflows.pages.report.STEPS", 6)
    latent_dim, kind = TRUTHS[simulator]
    run = untrained(tmp_path, simulator, latent_dim)
    (view,) = content(run).views
    if kind is None:
        assert view.truth is None
        return
    assert view.truth is not None
    assert view.truth.kind == kind
    known = simulators.named(simulator)
    assert isinstance(known, simulators.HasDistance)
    assert np.asarray(known.distance(view.truth.x)).max() < 1e-5
    assert np.isfinite(view.truth.log_prob).all()
