"""What a report takes from a run: the truth of any simulator that can tell it."""

import jax
import numpy as np
import pytest
from tests import tiny

from mflows import runs, simulators
from mflows.data import Data
from mflows.pages import pictures
from mflows.pages.report import content

TRUTHS = {
    "swiss-roll": (2, "surface"),
    "spiral": (1, "curve"),
    "circle": (1, None),
    "lorenz": (2, None),
}


def untrained(folder, x: np.ndarray, *, theta: np.ndarray | None = None, **changes) -> runs.Run:
    """A run on points ``x`` whose flow is as it was built."""
    path = folder / "data.npz"
    np.savez(path, x=x, **({} if theta is None else {"theta": theta}))
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


PAE = {"model": "pae", "latent_dim": 2, "settings": {"width": 4}}
IMAGES = np.random.default_rng(0).normal(size=(60, 4, 4, 1))


def test_images_are_projected_and_sampled_in_their_shape(tmp_path):
    run = untrained(tmp_path, IMAGES, **PAE)
    shown = content(run)
    assert shown.held_out is not None
    assert shown.samples is not None
    assert shown.held_out.x.shape == shown.samples.shape == (6, 4, 4, 1)
    assert not shown.names
    assert shown.summary["dimension"] == "n = 2 in D\u00a0=\u00a016"
    assert shown.projected is not None
    assert shown.worst is not None
    np.testing.assert_array_equal(shown.projected.x, shown.held_out.x)
    for each in (shown.projected, shown.worst):
        np.testing.assert_array_equal(IMAGES[each.rows.astype(int)], each.x)
        np.testing.assert_allclose(each.projections, run.flow.project(each.x), rtol=1e-12)
        away = np.linalg.norm((each.x - each.projections).reshape(6, -1), axis=1)
        np.testing.assert_allclose(each.distance, away)
    np.testing.assert_array_equal(np.sort(shown.projected.distance)[::-1], shown.worst.distance)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_images_are_decoded_over_the_quantiles_of_their_coordinates(tmp_path, n):
    flow = untrained(tmp_path, IMAGES, **{**PAE, "latent_dim": n}).flow
    latent = np.random.default_rng(1).normal(size=(500, n)) * np.arange(1, n + 1)
    latent[3] = np.nan
    shown = pictures.decoded(flow, latent, None, "")
    assert shown is not None
    low, middle, high = np.nanquantile(latent, [0.02, 0.5, 0.98], axis=0)
    assert shown.images.shape == ({1: 1, 2: 8, 8: 6}[n], 8, 4, 4, 1)
    if n == 2:
        corners = [[[low[0], high[1]], high], [low, [high[0], low[1]]]]
        np.testing.assert_allclose(shown.images[::7, ::7], flow.decode(corners))
        assert (shown.rows[0], shown.columns[0]) == ("u2 98%", "u1<br>2%")
        return
    widest = np.sort(np.argsort(low - high)[:6])
    assert shown.rows == [f"u{i + 1}" for i in widest]
    ends = np.stack([np.where(np.arange(n) == widest[0], end, middle) for end in (low, high)])
    np.testing.assert_allclose(shown.images[0, ::7], flow.decode(ends))
    assert ("Of 8 coordinates these 6" in shown.caption) == (n == 8)


def test_images_given_a_condition_are_decoded_at_its_median(tmp_path):
    theta = np.linspace(0, 3, 60)[:, None]
    settings = {"width": 4, "conditional_chart": True}
    changes = {"condition": ("theta",), **PAE, "settings": settings}
    run = untrained(tmp_path, IMAGES, theta=theta, **changes)
    shown = content(run)
    assert shown.conditional
    assert shown.decoded is not None
    assert shown.latent is not None
    at = np.median(theta[run.data().held_out_rows(run.config.validation_fraction, 0)], axis=0)
    assert f"the one at theta = {at[0]:.2g}, the median" in shown.decoded.caption
    lowest = np.quantile(shown.latent, 0.02, axis=0)
    np.testing.assert_allclose(shown.decoded.images[-1, 0], run.flow.decode(lowest, at))
    run = untrained(tmp_path, IMAGES, theta=theta, **{**changes, "settings": {"width": 4}})
    fixed = pictures.decoded(run.flow, shown.latent, at, "theta = 1")
    assert fixed is not None
    assert fixed.caption.endswith("The manifold does not depend on the condition.")


def test_images_of_a_diverged_flow_have_no_worst(tmp_path):
    flow = untrained(tmp_path, IMAGES, **PAE).flow
    data = Data(IMAGES[:4])
    distance = np.array([np.nan, 1, np.inf, 2])
    worst = pictures.projections(flow, data, distance, np.arange(4))[1]
    assert worst is not None
    assert worst.rows.tolist() == [3, 1]
    assert pictures.projections(flow, data, np.full(4, np.nan), np.arange(4))[1] is None
    assert pictures.decoded(flow, np.full((4, 2), np.nan), None, "") is None
