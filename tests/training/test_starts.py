"""Placements and the geodesic start: what they do to a flow, and that they do unroll."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from paramax import unwrap

import mflows as mf
from mflows.charts import placement_of, placements_of
from mflows.models import BUILDERS
from mflows.simulators import named
from mflows.training import Batch, starts


def arc(count, turn=1.6 * np.pi):
    """Most of a circle: a graph over no line, and easily unrolled."""
    angle = np.random.default_rng(0).uniform(-turn / 2, turn / 2, count)
    return np.stack((np.cos(angle), np.sin(angle)), axis=1), angle


def small_flow(dim=2, n=1, affine=True):
    sizes = {"chart_layers": 2, "latent_layers": 2, "width": 16}
    return mf.models.m_flow(jr.key(0), (dim,), n, affine=affine, **sizes)


def test_place_chart_standardises_and_keeps_data_units():
    x = np.random.default_rng(1).normal(size=(500, 3)) * [1, 100, 0.01] + [5, 0, -3]
    flow = starts.place_chart(jr.key(0), small_flow(3, 2), Batch(jnp.asarray(x), None))
    z = np.asarray(starts._scaled(flow, jnp.asarray(x)))
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose((z**2).sum(1).mean(), 3, rtol=1e-9)
    assert float(flow.distance(x).max()) < 10 * 100


def test_place_latent_standardises_the_latent_density():
    x = np.random.default_rng(2).normal(size=(500, 2)) * [7, 1]
    batch = Batch(jnp.asarray(x), None)
    flow = starts.place_latent(jr.key(0), small_flow(), batch)
    placement = placement_of(flow.latent)
    np.testing.assert_allclose(placement.scale.tree, np.asarray(flow.encode(x)).std(0))


def test_constant_features_are_left_unscaled():
    x = np.random.default_rng(3).normal(size=(50, 3))
    x[:, 1] = 4
    flow = starts.place_chart(jr.key(0), small_flow(3, 1), Batch(jnp.asarray(x), None))
    assert float(placement_of(flow.chart).scale.tree[1]) == 1
    assert np.isfinite(flow.distance(x)).all()


def test_features_that_vary_little_beside_their_offset_are_scaled():
    """Times since 1970, some minutes apart, in single precision."""
    time = 1.7e9 + np.random.default_rng(8).uniform(0, 6000, size=(50, 1))
    x = np.hstack((time, time % 7)).astype(np.float32)
    flow = starts.place_chart(jr.key(0), small_flow(), Batch(jnp.asarray(x), None))
    assert float(placement_of(flow.chart).scale.tree[0]) == pytest.approx(time.std(), rel=0.05)


@pytest.mark.parametrize("values", [[0.3, np.nextafter(np.float32(0.3), 1)], [1e-40, 2e-40]])
def test_what_varies_by_rounding_or_below_the_smallest_number_is_left_unscaled(values):
    x = np.random.default_rng(9).normal(size=(50, 2)).astype(np.float32)
    x[:, 1] = np.resize(np.float32(values), 50)
    flow = starts.place_chart(jr.key(0), small_flow(), Batch(jnp.asarray(x), None))
    assert float(placement_of(flow.chart).scale.tree[1]) == 1


@pytest.mark.parametrize("name", ["swiss-roll", "s-curve", "spiral"])
def test_rolled_shapes_are_recognised(name):
    shape = named(name)
    x = jnp.asarray(shape.draw(jr.key(1), 6000))
    flow = small_flow(x.shape[1], shape.latent_dim)
    flow = starts.place_chart(jr.key(0), flow, Batch(x, None))
    assert starts.unrolled_copy(flow, Batch(x, None)) is not None


def test_graphs_closed_shapes_and_noise_are_not_taken_for_rolled():
    rng = np.random.default_rng(6)
    u = rng.uniform(-1, 1, size=(2000, 2))
    angle = rng.uniform(0, 2 * np.pi, 2000)
    few = np.concatenate((rng.uniform(-2.9, 2.9, 3000), np.linspace(2.9, 2 * np.pi - 2.9, 15)))
    cases = {
        "graph": (np.column_stack((u, np.sin(3 * u[:, 0]))), 2),
        "circle": (np.column_stack((np.cos(angle), np.sin(angle))), 1),
        "circle closed by few points": (np.column_stack((np.cos(few), np.sin(few))), 1),
        "noise": (rng.normal(size=(2000, 3)), 2),
    }
    for name, (x, n) in cases.items():
        batch = Batch(jnp.asarray(x), None)
        flow = starts.place_chart(jr.key(0), small_flow(x.shape[1], n), batch)
        assert starts.unrolled_copy(flow, batch) is None, name


def test_a_sheet_that_geodesics_unroll_onto_itself_is_not_left_to_the_plane_in_silence(monkeypatch):
    monkeypatch.setattr(starts, "overlap", lambda z, u: 3.4)
    batch = Batch(jnp.asarray(arc(300)[0]), None)
    flow = starts.place_chart(jr.key(0), small_flow(), batch)
    with pytest.warns(UserWarning, match="too sparsely sampled or closed .* more points help"):
        assert starts.unrolled_copy(flow, batch) is None


def test_only_charts_of_builders_that_take_their_depth_are_deepened(monkeypatch):
    flow = small_flow()
    given = flow.built[1]
    monkeypatch.setitem(BUILDERS, "shallow", lambda key: flow)
    for built in (None, ("of_my_own", given), ("shallow", "{}")):
        own = mf.Flow(flow.chart, flow.latent, built=built)
        assert starts._fresh(jr.key(0), own) is own


def test_unroll_deepens_the_chart_and_follows_the_arc(monkeypatch):
    for name, value in (("CANDIDATES", 2), ("SHORT", 50), ("LONG", 400), ("DEEP", 6)):
        monkeypatch.setattr(starts, name, value)
    monkeypatch.setattr(starts, "WIDE", 20)
    x, _ = arc(1000)
    batch = Batch(jnp.asarray(x), None)
    flow = starts.place_chart(jr.key(0), small_flow(affine=False), batch)
    before = float(flow.distance(x).max())
    unrolled = starts.unroll(jr.key(1), flow, batch)
    assert '"chart_layers": 6' in unrolled.built[1]
    assert '"width": 20' in unrolled.built[1]
    assert float(unrolled.distance(x).max()) < 0.15 < before


def test_unroll_says_when_nothing_was_whole(monkeypatch):
    for name, value in (("CANDIDATES", 1), ("SHORT", 1), ("DEEP", 2), ("WIDE", 8)):
        monkeypatch.setattr(starts, name, value)
    x, _ = arc(300)
    batch = Batch(jnp.asarray(x), None)
    flow = starts.place_chart(jr.key(0), small_flow(), batch)
    with pytest.warns(UserWarning, match="None of 1 attempts .* may be torn. Try another seed"):
        starts.unroll(jr.key(1), flow, batch)


def test_unroll_leaves_a_graph_alone():
    x = np.random.default_rng(7).uniform(-1, 1, size=(500, 1))
    batch = Batch(jnp.asarray(np.hstack((x, x**2))), None)
    flow = starts.place_chart(jr.key(0), small_flow(), batch)
    assert starts.unroll(jr.key(1), flow, batch) is flow


def test_a_rolled_table_is_embedded_once_by_a_fit(monkeypatch):
    for name, value in (("CANDIDATES", 1), ("SHORT", 5), ("LONG", 5), ("DEEP", 2), ("WIDE", 8)):
        monkeypatch.setattr(starts, name, value)
    embedded, genuine = [], starts.geodesic_embedding

    def counted(key, z, n):
        embedded.append(z.shape)
        return genuine(key, z, n)

    monkeypatch.setattr(starts, "geodesic_embedding", counted)
    x, _ = arc(300)
    recipe = mf.recipes.manifold_then_density(2, batch_size=100)
    with pytest.warns(UserWarning, match="None of 1 attempts"):
        fitted = mf.fit(jr.key(0), small_flow(), x, recipe, validation=0, progress=False)
    assert embedded == [(300, 2)]
    assert [row["phase"] for row in fitted.history] == ["unrolled manifold", "density"]


@pytest.mark.parametrize("rank", [4, 11, 40])
def test_a_chart_of_some_rank_bends_where_the_data_vary(rank):
    """12 points span 11 of 40 directions; a smaller rank leaves out what varies least."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 40)) * np.linspace(3, 0.1, 40) + 5
    flow = mf.models.m_flow(jr.key(0), (40,), 2, rank=rank, chart_layers=1, width=4)
    placed = unwrap(starts.place_chart(jr.key(0), flow, Batch(jnp.asarray(x), None)))
    placement = placement_of(placed.chart)
    off = np.asarray(jax.vmap(placement.inverse)(jnp.asarray(x)))[:, rank:]
    z = (x - x.mean(0)) / x.std(0)
    variances = np.linalg.svd(z, compute_uv=False) ** 2
    least = variances[
        rank:
    ].sum()  # 0 from 11 on; the plane may be any, the rest are the principal axes off it
    assert least - 1e-4 <= (off**2).sum() <= least + variances[:2].sum()
    if rank == 11:
        np.testing.assert_allclose(off, 0, atol=1e-4)


def test_a_rank_above_that_of_the_data_changes_nothing():
    """Points on a plane vary in no direction by which it could be completed."""
    x = np.random.default_rng(0).normal(size=(30, 2)) @ np.random.default_rng(1).normal(size=(2, 6))
    flow = mf.models.m_flow(jr.key(0), (6,), 2, rank=5, chart_layers=1, width=4)
    placed = starts.place_chart(jr.key(0), flow, Batch(jnp.asarray(x), None))
    np.testing.assert_allclose(placed.distance(x), 0, atol=0.02 * np.abs(x).max())


def test_a_rank_that_does_not_fit_is_refused():
    for rank in (2, 41):
        with pytest.raises(ValueError, match="Expected a rank above the dimension 2"):
            mf.models.m_flow(jr.key(0), (40,), 2, rank=rank)


def test_an_ambient_flow_of_some_rank_is_placed_where_the_data_vary():
    """What is left out is normal, with a density that knows its volume."""
    x = np.random.default_rng(0).normal(size=(50, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
    flow = mf.models.ambient_flow(jr.key(0), (5,), rank=2, layers=1, width=4, affine=True)
    flow = starts.place_chart(jr.key(0), flow, Batch(jnp.asarray(x), None))
    z = (x - x.mean(0)) / x.std(0)
    variances = np.linalg.svd(z, compute_uv=False)[:2] ** 2 / len(x)
    u = np.asarray(flow.encode(x))
    np.testing.assert_allclose(np.var(u[:, :2], axis=0), variances, rtol=0.2)  # nearly the identity
    jacobian = jax.jacfwd(lambda x: flow.encode(x))(jnp.asarray(x[0]))
    expected = jax.scipy.stats.norm.logpdf(u[0]).sum() + np.linalg.slogdet(jacobian)[1]
    assert flow.log_prob(x[0]) == pytest.approx(float(expected))
    with pytest.raises(ValueError, match="Expected a rank above the dimension 0"):
        mf.models.ambient_flow(jr.key(0), (5,), rank=6)


def test_images_share_one_scale_and_are_turned_before_their_convolutions():
    rng = np.random.default_rng(0)
    patterns = np.linalg.qr(rng.normal(size=(36, 3)))[0].T.reshape(3, 6, 6, 1)
    x = 5 + np.einsum("ni,ihwc->nhwc", rng.normal(size=(200, 3)) * (3, 2, 0.1), patterns)
    settings = {"network": "convolutional", "channels": 4, "rank": 3, "latent_layers": 1}
    flow = mf.models.m_flow(jr.key(0), (6, 6, 1), 2, **settings)
    placed = starts.place_chart(jr.key(1), flow, Batch(jnp.asarray(x), None))
    turn, scaling = placements_of(placed.chart)
    assert (turn.plane_dim, scaling.plane_dim) == (3, 0)
    deviation = np.sqrt(x.var(axis=0).mean())
    np.testing.assert_allclose(scaling.scale.tree, deviation)
    np.testing.assert_allclose(scaling.centre, x.mean(axis=0))
    np.testing.assert_array_equal(turn.scale.tree, 1)
    # Layers start near the identity: the plane of the first two patterns leaves the third.
    spread = np.sqrt(np.square(x - x.mean(axis=0)).sum(axis=(1, 2, 3))).mean()
    assert float(placed.distance(x).mean()) < 0.1 * spread
