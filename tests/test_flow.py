"""Flows are densities on manifolds: checked against geometry and closed forms, not themselves."""

import importlib
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.bijections import Affine
from flowjax.distributions import AbstractDistribution, StandardNormal, Transformed
from paramax import unwrap
from scipy.stats import multivariate_normal
from tests.registry import (
    CHARTS,
    FLOWS,
    IMAGE,
    condition_of,
    coupling,
    linear_flow,
    placement,
    turn_of,
)

import mflows as mf
from mflows.batches import POINTS_AT_ONCE, _block
from mflows.charts import BijectionChart, Pad
from mflows.training import Batch, NegativeLogLikelihood
from mflows.training.epoch import trainable

GRIDS = {1: 4001, 2: 181}
"""Nodes per axis; more where that costs nothing."""


@pytest.fixture(scope="module")
def surface() -> mf.Flow:
    """A surface in space whose chart and latent density both depend on theta."""
    return FLOWS["conditional affine surface"]()


@pytest.fixture(scope="module")
def curve() -> mf.Flow:
    return FLOWS["curve"]()


def _sizes(x: np.ndarray, n: int) -> np.ndarray:
    """Sizes of the cells of a decoded grid: segments, or pairs of triangles."""
    if n == 1:
        return np.linalg.norm(np.diff(x, axis=0), axis=-1)

    def triangle(a, b, c):
        v, w = b - a, c - a
        gram = (v * v).sum(-1) * (w * w).sum(-1) - (v * w).sum(-1) ** 2
        return 0.5 * np.sqrt(np.maximum(gram, 0))

    a, b, c, d = x[:-1, :-1], x[1:, :-1], x[:-1, 1:], x[1:, 1:]
    return triangle(a, b, c) + triangle(d, b, c)


@pytest.mark.parametrize(
    "name",
    ["curve", "conditional affine surface", "linear", "nested", "pseudo-invertible encoder"],
)
def test_the_density_integrates_to_one_over_decoded_points(name):
    """Every second point of a latent grid is a corner of a cell, the others are its middle."""
    flow, condition = FLOWS[name](), condition_of(FLOWS[name]())
    n = flow.latent_dim
    axis = np.linspace(-9, 9, 2 * GRIDS[n] - 1)
    x = np.asarray(flow.decode(np.stack(np.meshgrid(*[axis] * n, indexing="ij"), -1), condition))
    corners, middles = x[(slice(None, None, 2),) * n], x[(slice(1, None, 2),) * n]
    density = np.exp(np.asarray(flow.log_prob(middles, condition)))
    assert abs((density * _sizes(corners, n)).sum() - 1) < 5e-3


@pytest.mark.parametrize(
    "name", ["autoencoder", "curve with an encoder", "generative adversarial network"]
)
def test_the_sampled_density_of_a_free_decoder_integrates_to_one_over_decoded_points(name):
    """Off its own encoder's inverse too: the density of samples needs the decoder alone."""
    flow = unwrap(FLOWS[name]())
    u = np.linspace(-9, 9, 2 * GRIDS[1] - 1)[:, None]
    x = np.asarray(flow.decode(u))
    volumes = jax.jit(jax.vmap(lambda u: flow.volume.log_volume(flow.chart, u)))(u[1::2])
    density = np.exp(flow.latent.log_prob(u[1::2]) - volumes)
    assert abs((density * _sizes(x[::2], 1)).sum() - 1) < 5e-3


def test_a_linear_chart_of_a_normal_is_the_degenerate_gaussian():
    flow = linear_flow()
    layer = placement(4, plane_dim=2)
    mean, scale = layer.mean.tree, layer.scale.tree
    columns = np.asarray(scale)[:, None] * turn_of(layer)[:, :2]
    x = np.asarray(flow.sample(jr.key(0), (20,)))
    oracle = multivariate_normal(np.asarray(mean), columns @ columns.T, allow_singular=True)
    np.testing.assert_allclose(flow.log_prob(x), oracle.logpdf(x), rtol=1e-8)


def test_a_flow_may_be_the_latent_density_of_a_flow():
    flow = FLOWS["nested"]()
    x, log_prob = flow.sample_and_log_prob(jr.key(0), (6,))
    u = flow.encode(x)
    volumes = jax.jit(jax.vmap(lambda u: flow.volume.log_volume(flow.chart, u)))(u)
    np.testing.assert_allclose(log_prob, flow.latent.log_prob(u) - volumes, rtol=1e-8)


# Agreement of the ways to ask -------------------------------------------------------------------


def test_every_way_to_the_log_density_gives_the_same(surface):
    condition = condition_of(surface)
    x, log_prob = surface.sample_and_log_prob(jr.key(1), (6,), condition)
    both = surface.log_prob_and_distance(x, condition)
    np.testing.assert_allclose(surface.log_prob(x, condition), log_prob, rtol=1e-8)
    np.testing.assert_allclose(both.log_prob, log_prob, rtol=1e-8)
    np.testing.assert_allclose(both.distance, 0, atol=1e-8)
    np.testing.assert_array_equal(surface.sample(jr.key(1), (6,), condition), x)


@pytest.mark.parametrize("blocks", [64, 1])
def test_samples_are_flowjax_s_whatever_the_blocks(surface, monkeypatch, blocks):
    monkeypatch.setattr(importlib.import_module("mflows.batches"), "BLOCKS_AT_ONCE", blocks)
    thetas = np.random.default_rng(1).normal(size=(3, 2))
    key, count = jr.key(3), POINTS_AT_ONCE // 2
    x, log_prob = surface.sample_and_log_prob(key, (count,), thetas)
    assert x.shape == (count, 3, 3)
    assert log_prob.shape == (count, 3)
    theirs = AbstractDistribution.sample(surface, key, (count,), thetas)
    np.testing.assert_allclose(x, theirs, rtol=1e-10)
    assert surface.sample(key, (0,), thetas).shape == (0, 3, 3)
    assert surface.sample(jr.key(3, impl="rbg"), (5,), thetas).shape == (5, 3, 3)


def test_samples_lie_on_the_manifold_and_other_points_do_not(surface):
    theta = condition_of(surface)
    x = surface.sample(jr.key(2), (6,), theta)
    np.testing.assert_allclose(surface.project(x, theta), x, atol=1e-8)
    off = x + 0.5
    both = surface.log_prob_and_distance(off, theta)
    projected = surface.project(off, theta)
    np.testing.assert_allclose(both.distance, np.linalg.norm(off - projected, axis=-1), rtol=1e-10)
    np.testing.assert_allclose(surface.distance(off, theta), both.distance, rtol=1e-10)
    assert (both.distance > 1e-3).all()
    np.testing.assert_allclose(both.log_prob, surface.log_prob(projected, theta), rtol=1e-7)
    np.testing.assert_allclose(surface.decode(surface.encode(off, theta), theta), projected)


def test_a_batch_is_a_loop_over_points(surface):
    x = np.random.default_rng(0).normal(size=(2, 3, 3))
    thetas = np.random.default_rng(1).normal(size=(2, 3, 2))
    batch = surface.log_prob(x, thetas)
    assert batch.shape == (2, 3)
    alone = [[surface.log_prob(x[i, j], thetas[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(batch, np.asarray(alone), rtol=1e-10)
    assert surface.encode(x, thetas).shape == (2, 3, 2)
    assert surface.project(x, thetas).shape == (2, 3, 3)


def test_points_and_conditions_broadcast(surface):
    x = np.random.default_rng(0).normal(size=(2, 1, 3))
    thetas = np.random.default_rng(1).normal(size=(3, 2))
    table = surface.log_prob(x, thetas)
    assert table.shape == (2, 3)
    spread = np.broadcast_to(x, (2, 3, 3)), np.broadcast_to(thetas, (2, 3, 2))
    np.testing.assert_array_equal(table, surface.log_prob(*spread))
    shape = jax.eval_shape(lambda: surface.sample(jr.key(0), (4,), thetas)).shape
    assert shape == (4, 3, 3)
    assert jax.eval_shape(lambda: surface.decode(np.zeros(2), thetas)).shape == (3, 3)


def test_an_empty_batch_gives_an_empty_answer():
    flow = linear_flow()
    assert flow.log_prob(np.zeros((0, 4))).shape == (0,)
    assert flow.decode(np.zeros((0, 2))).shape == (0, 4)


def test_the_result_of_a_point_does_not_depend_on_its_batch(surface):
    rng = np.random.default_rng(0)
    x, thetas = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    whole = np.asarray(surface.log_prob(x, thetas))
    others, other_thetas = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    others[4], other_thetas[4] = x[4], thetas[4]
    assert float(surface.log_prob(others, other_thetas)[4]) == whole[4]


@pytest.mark.parametrize("blocks", [64, 1])
def test_large_batches_are_evaluated_in_blocks(monkeypatch, blocks):
    monkeypatch.setattr(importlib.import_module("mflows.batches"), "BLOCKS_AT_ONCE", blocks)
    flow = linear_flow()
    x = np.random.default_rng(0).normal(size=(2 * POINTS_AT_ONCE + 5, 4))
    found = flow.distance(x)
    assert found.shape == (len(x),)
    some = [0, POINTS_AT_ONCE - 1, POINTS_AT_ONCE, -6, -5, -1]
    np.testing.assert_allclose(found[np.array(some)], flow.distance(x[some]), rtol=1e-10)
    under_jit = jax.jit(lambda x: flow.distance(x))(x)
    np.testing.assert_allclose(under_jit, found, rtol=1e-10)


def test_small_batches_share_a_compiled_function(monkeypatch):
    module = importlib.import_module("mflows.batches")
    traced, genuine = [], module._of_point
    monkeypatch.setattr(module, "_of_point", lambda *args: traced.append(args) or genuine(*args))
    flow = linear_flow()
    for count in (1, 40, 64):
        flow.encode(np.zeros((count, 4)))
    assert len(traced) == 1


def test_memory_is_not_quadratic_in_the_batch(surface):
    """No array of the compiled program pairs the points of a batch with each other."""
    points = 97
    x, thetas = jnp.zeros((points, 3)), jnp.zeros((points, 2))
    text = _block.lower(mf.Flow._log_prob, surface, (x, thetas)).as_text()
    shapes = {shape for part in text.split("tensor<")[1:] for shape in [part.split(">")[0]]}
    assert any(shape.split("x").count(str(points)) == 1 for shape in shapes)
    assert not any(shape.split("x").count(str(points)) > 1 for shape in shapes)


# Points of any shape ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["autoencoder of images", "surface of images", "images, n = D"])
def test_points_of_any_shape_are_points(name):
    if name in FLOWS:
        flow = FLOWS[name]()
    else:
        chart = CHARTS[name]()
        flow = mf.Flow(chart, StandardNormal((chart.latent_dim,)))
    x = flow.sample(jr.key(0), (2, 3))
    assert x.shape == (2, 3, *IMAGE)
    score = flow.score(x)
    assert score.log_prob.shape == score.distance.shape == (2, 3)
    np.testing.assert_allclose(flow.log_prob(x), score.log_prob, rtol=1e-8)
    assert flow.encode(x).shape == (2, 3, flow.latent_dim)
    assert flow.dim == 6
    assert flow.is_ambient == (name == "images, n = D")
    off = x + 0.5
    gap = np.asarray(off - flow.project(off)).reshape(2, 3, -1)
    lengths = np.linalg.norm(gap, axis=-1)
    np.testing.assert_allclose(flow.distance(off), lengths, rtol=1e-10, atol=1e-14)
    near = np.linalg.norm(np.asarray(off - flow.nearest(off)).reshape(2, 3, -1), axis=-1)
    assert (near <= flow.distance(off) + 1e-9).all()
    assert flow.condition_number(x).shape == (2, 3)


@pytest.mark.parametrize("name", ["m_flow", "me_flow", "ripf", "vae", "gan", "pie", "ambient_flow"])
def test_every_builder_takes_points_of_any_shape(name):
    build = getattr(mf.models, name)
    rest = () if name == "ambient_flow" else (2,)

    def asked(x, key):
        flow = unwrap(build(key, IMAGE, *rest, width=4))
        y = flow.chart.project(x)
        return y, flow._log_prob(y) if flow.has_density else jnp.zeros(())

    y, log_prob = jax.eval_shape(asked, jnp.zeros(IMAGE), jr.key(0))
    assert (y.shape, log_prob.shape) == (IMAGE, ())


# Conditions -------------------------------------------------------------------------------------


def test_the_condition_matters_where_there_is_one(surface):
    x = np.random.default_rng(0).normal(size=3)
    thetas = np.random.default_rng(1).normal(size=(6, 2))
    assert np.ptp(surface.log_prob(x, thetas)) > 1e-2
    assert np.ptp(surface.project(x, thetas), axis=0).max() > 1e-3


def test_a_condition_is_refused_by_a_flow_that_has_none():
    flow = linear_flow()
    x, theta = np.ones((4, 4)), np.ones((4, 3))
    for call in (flow.log_prob, flow.encode, lambda x, theta: flow.sample(jr.key(0), 3, theta)):
        with pytest.raises(ValueError, match=r"Expected no condition .*of shape \(4, 3\)"):
            call(x, theta)


def test_only_the_density_depends_on_theta_unless_the_chart_is_told_to():
    build = mf.models.m_flow
    flow = eqx.filter_eval_shape(lambda: build(jr.key(0), (3,), 2, (1,), width=8, bins=4))
    assert flow.chart.cond_shape is None
    assert flow.latent.cond_shape == flow.cond_shape == (1,)


# What is refused --------------------------------------------------------------------------------


def test_a_missing_condition_is_named(surface):
    message = r"Expected a condition of shape \(\*, 2\) for this conditional flow; got none\."
    for method in (surface.log_prob, surface.encode, surface.project, surface.distance):
        with pytest.raises(ValueError, match=message):
            method(np.zeros(3))
    with pytest.raises(ValueError, match=message):
        surface.sample(jr.key(0), (3,))
    with pytest.raises(ValueError, match=message):
        surface.sample_and_log_prob(jr.key(0), (3,))


def test_a_wrong_condition_is_named(surface):
    message = r"Expected condition of shape \(\*, 2\) for this flow; got \(3,\)\."
    with pytest.raises(ValueError, match=message):
        surface.log_prob(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=message):
        surface.sample(jr.key(0), (), np.zeros(3))


def test_too_many_columns_suggest_a_condition_among_them(surface):
    message = (
        r"Expected x of shape \(\*, 3\) for this flow; got \(7, 5\)\. "
        r"Is a condition column still in x\?"
    )
    with pytest.raises(ValueError, match=message):
        surface.log_prob(np.zeros((7, 5)), np.zeros(2))


def test_too_few_columns_are_named(curve):
    with pytest.raises(ValueError, match=r"x of shape \(\*, 2\) for this flow; got \(7, 1\)\.$"):
        curve.distance(np.zeros((7, 1)))
    with pytest.raises(ValueError, match=r"u of shape \(\*, 1\) for this flow; got \(7, 2\)\.$"):
        curve.decode(np.zeros((7, 2)))
    with pytest.raises(ValueError, match=r"x of shape \(\*, 2\) for this flow; got \(\)\.$"):
        curve.log_prob(1.0)


def test_batches_that_do_not_broadcast_are_refused(surface):
    with pytest.raises(ValueError, match="[Ii]ncompatible shapes"):
        surface.log_prob(np.zeros((4, 3)), np.zeros((5, 2)))


def test_latent_density_and_chart_must_fit():
    message = r"Expected a latent density of shape \(1,\) for this chart; got \(2,\)\."
    with pytest.raises(ValueError, match=message):
        mf.Flow(Pad(1, 2), StandardNormal((2,)))
    chart = CHARTS["affine couplings, conditional"]()
    message = r"share one condition shape; got \(2,\) and \(1,\)\."
    with pytest.raises(ValueError, match=message):
        mf.Flow(chart, Transformed(StandardNormal((2,)), coupling(Affine(), dim=2, cond_dim=1)))


def test_builders_want_a_shape_and_fewer_latents_than_features():
    with pytest.raises(ValueError, match=r"Expected the shape \(D,\) of a vector; got \(8, 8\)\."):
        mf.models.fom(jr.key(0), (8, 8), manifold="sphere")
    with pytest.raises(ValueError, match=r"Expected the shape of a data point.*got \(\)"):
        mf.models.ambient_flow(jr.key(0), ())
    with pytest.raises(ValueError, match="Expected 1 <= latent_dim < 3"):
        mf.models.m_flow(jr.key(0), (3,), 3)


def test_a_point_that_is_not_a_number_has_no_finite_density_or_distance():
    """NaN is never replaced by a number that could pass for a likelihood, and refused if seen."""
    linear, ambient = linear_flow(), mf.Flow(BijectionChart(placement(4)), StandardNormal((4,)))
    latent = Transformed(StandardNormal((2,)), placement(2))
    for flow in (linear, ambient, mf.Flow(linear.chart, latent)):
        x = np.zeros((2, 4))
        x[1, 2] = np.nan
        with pytest.raises(ValueError, match=r"got nan at x\[1, 2\]"):
            flow.log_prob(x)
        both = jax.jit(lambda x, flow=flow: flow.log_prob_and_distance(x))(x)
        np.testing.assert_array_equal(np.isfinite(both.log_prob), [True, False])
        np.testing.assert_array_equal(np.isnan(both.distance), [False, True])


# Nearest points ---------------------------------------------------------------------------------


def test_nearest_is_the_best_of_a_fine_curve_and_never_worse_than_project(curve):
    line = np.asarray(curve.decode(np.linspace(-9, 9, 2 * GRIDS[1] - 1)[:, None]))
    rng = np.random.default_rng(0)
    x = line[rng.integers(2000, 6000, 60)] + 0.05 * rng.normal(size=(60, 2))
    x[0] = 1e9, -1e9
    found, projected = (
        np.linalg.norm(x - y, axis=-1) for y in (curve.nearest(x), curve.project(x))
    )
    assert np.isfinite(found).all()
    assert (found <= projected).all()
    assert (found[1:] < projected[1:] - 1e-4).any()
    best = np.linalg.norm(x[:, None] - line, axis=-1).min(1)
    assert (found[1:] < best[1:] + 1e-5).all()


def test_nearest_to_a_linear_chart_is_the_orthogonal_projection():
    flow = linear_flow()
    x = np.random.default_rng(0).normal(size=(6, 4))
    origin, *tips = np.asarray(flow.decode(np.array([[0, 0], [1, 0], [0, 1.0]])))
    columns = np.linalg.qr(np.stack([tip - origin for tip in tips], axis=1))[0]
    expected = origin + (x - origin) @ columns @ columns.T
    np.testing.assert_allclose(flow.nearest(x), expected, atol=1e-5)


@pytest.mark.parametrize("found", [5.0, np.nan])
def test_nearest_falls_back_to_the_projection_when_the_search_fails(found, monkeypatch):
    flow = unwrap(linear_flow())
    monkeypatch.setattr(
        "mflows.charts.autoencoder.optx.least_squares",
        lambda function, solver, start, **_: SimpleNamespace(value=start + found),
    )
    x = jnp.array([0.3, 0.1, -0.4, 2.0])
    np.testing.assert_array_equal(flow._nearest(x), flow.chart.project(x))


# Gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "placements"), [("conditional affine surface", 2), ("ambient flow of a plane", 1)]
)
def test_the_exact_likelihood_reaches_every_trainable_leaf_and_no_frozen_one(name, placements):
    flow = FLOWS[name]()
    x = jnp.asarray(np.random.default_rng(1).normal(size=(16, *flow.shape)))
    batch = Batch(x, condition_of(flow, 16))
    values, structure = eqx.partition(flow, eqx.is_inexact_array)

    def objective(values):
        return NegativeLogLikelihood()(eqx.combine(values, structure), batch, None)

    options = {"xla_backend_optimization_level": 0}
    gradient = jax.jit(jax.grad(objective), compiler_options=options)(values)
    trained, frozen = trainable(gradient, ("chart", "latent"))
    moving = jax.tree_util.tree_leaves_with_path(trained)
    assert len(moving) >= 8
    for path, leaf in moving:
        path = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), path
        assert (np.abs(leaf) > 0).any(), path
    still = [leaf for leaf in jax.tree.leaves(frozen) if eqx.is_inexact_array(leaf)]
    assert len(still) == 5 * placements  # mean, remainder, scale and two of the reflections
    assert all((np.asarray(leaf) == 0).all() for leaf in still)


def test_the_gradient_of_the_distance_is_finite_on_the_manifold():
    flow = linear_flow()
    x = flow.decode(np.array([0.5, 0.2]))
    gradient = jax.grad(lambda x: flow._log_prob_and_distance(x).distance)(x)
    assert np.isfinite(gradient).all()
