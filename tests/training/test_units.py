"""Units and offsets of points and conditions change no number but by the rule for them."""

import pickle
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from paramax import unwrap

import mflows as mf
from mflows.conditions import OutsideTraining
from mflows.data import Data
from mflows.training.examine import OddData, examined

ROWS = 300
SMALL = {"affine": True, "width": 8}


@pytest.fixture(autouse=True)
def single_precision():
    """What users have, and where digits are lost."""
    with jax.enable_x64(False):
        yield


def sheet():
    u = np.random.default_rng(0).normal(size=(ROWS, 2))
    return np.stack([u[:, 0], u[:, 1], 0.5 * u[:, 0] + 0.3 * u[:, 1] ** 2], 1)


def m_flow(data: Data) -> mf.Flow:
    flow = mf.models.m_flow(jr.key(0), (3,), 2, chart_layers=2, latent_layers=1, **SMALL)
    recipe = mf.recipes.alternating(4)
    return mf.fit(jr.key(1), flow, data, recipe, progress=False).flow


def ambient(data: Data, recipe=None, **settings) -> mf.Flow:
    flow = mf.models.ambient_flow(
        jr.key(0), data.shape, data.cond_shape, layers=2, **{**SMALL, **settings}
    )
    recipe = mf.recipes.maximum_likelihood(4) if recipe is None else recipe
    return mf.fit(jr.key(1), flow, data, recipe, progress=False).flow


@pytest.fixture(scope="module")
def plain():
    with jax.enable_x64(False):
        flow = m_flow(Data(sheet()))
        return flow.score(sheet())


@pytest.mark.parametrize("scale", [1e-30, 1e-17, 1e20, 1e30])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_a_sheet_is_learned_in_any_unit_and_far_from_zero(plain, scale, offset):
    x = scale * (sheet() + offset)
    flow = m_flow(Data(x))
    found = flow.score(x)
    np.testing.assert_allclose(
        np.asarray(found.log_prob) + 2 * np.log(scale), plain.log_prob, atol=0.02
    )
    np.testing.assert_allclose(np.asarray(found.distance) / scale, plain.distance, atol=2e-3)
    np.testing.assert_allclose(found.condition_number, plain.condition_number, rtol=0.02)
    nearest = np.asarray(flow.nearest(x[:20]), dtype=float)
    away = np.linalg.norm((x[:20] - nearest) / scale, axis=1)
    assert (away <= np.asarray(found.distance)[:20] / scale + 0.02).all()


@pytest.mark.parametrize("scale", [(1, 1, 1e-21), (1e-21, 1, 1e-21), (1e10, 1e-5, 1)])
def test_columns_of_different_units_have_the_area_of_their_sheet(plain, scale):
    """Against log |a x b|, the area of a parallelogram in space, of the same learned sheet."""
    scale = np.array(scale, dtype=float)
    x = sheet() * scale
    flow = m_flow(Data(x))
    own = unwrap(flow.own())
    u = flow.encode(x[:30])
    tangents = jax.vmap(lambda u: own.chart.pushforward(u, jnp.eye(2))[1])(u)
    a, b = np.moveaxis(np.asarray(tangents, dtype=float), 1, 0)
    area = np.log(np.linalg.norm(np.cross(a, b), axis=1))
    density = jax.vmap(own.latent_log_prob)(u)
    np.testing.assert_allclose(flow.log_prob(x[:30]), np.asarray(density) - area, atol=1e-3)


def test_posix_seconds_keep_their_digits():
    rng = np.random.default_rng(0)
    second, value = rng.uniform(0, 600, ROWS), rng.normal(size=ROWS)
    near = ambient(Data(np.stack([second, value], 1)))
    times = np.stack([1_700_000_000 + second, value], 1)
    far = ambient(Data(times))
    np.testing.assert_allclose(
        far.log_prob(times), near.log_prob(np.stack([second, value], 1)), atol=1e-3
    )
    drawn = far.sample(jr.key(2), (100,))
    assert drawn.dtype == np.float64
    assert len(np.unique(drawn[:, 0])) == 100
    np.testing.assert_allclose(far.project(times), times, atol=1e-2)
    assert isinstance(near.sample(jr.key(2), (3,)), jax.Array)


def test_data_in_single_precision_that_lost_their_digits_are_told():
    rng = np.random.default_rng(0)
    times = np.stack([1_700_000_000 + rng.uniform(0, 600, ROWS), rng.normal(size=ROWS)], 1)
    with pytest.warns(OddData, match="digits of column 'x0' are lost: .*float32"):
        ambient(Data(times.astype(np.float32)))


def wave(scale: float, offset: float, score: bool = False) -> Data:
    t = np.random.default_rng(1).random(ROWS)
    noise = np.random.default_rng(2).normal(size=(ROWS, 2))
    x = np.stack([3 * t, 2 * np.cos(3 * t)], 1) + 0.3 * noise
    joint = (noise[:, :1] * 10 - 5 * noise[:, 1:]) / scale if score else None
    return Data(x, offset + scale * t[:, None], joint_score=joint)


CONDITIONS = [(0.01, 0), (1e-9, 0), (1e4, 0), (1, 100), (20, 2000), (1e7, 1.7e9)]


@pytest.fixture(scope="module")
def of_order_one():
    with jax.enable_x64(False):
        flow = ambient(wave(1, 0))
        return flow, flow.log_prob(wave(1, 0).x, wave(1, 0).condition)


@pytest.mark.parametrize(("scale", "offset"), CONDITIONS)
def test_conditions_of_any_size_are_learned_alike(of_order_one, scale, offset, tmp_path):
    data = wave(scale, offset)
    flow = ambient(data)
    found = flow.log_prob(data.x, data.condition)
    np.testing.assert_allclose(found, of_order_one[1], atol=0.01)
    mf.save(tmp_path, flow)
    np.testing.assert_array_equal(mf.load(tmp_path).log_prob(data.x, data.condition), found)
    drawn = flow.sample(jr.key(0), condition=data.condition)
    same = of_order_one[0].sample(jr.key(0), condition=wave(1, 0).condition)
    np.testing.assert_allclose(drawn, same, atol=0.02)


def test_scores_of_theta_are_in_its_own_units(of_order_one):
    """d log p / d theta: the chain rule, seen by whoever differentiates, and by SCANDAL."""
    scale = 1e3
    flow = ambient(wave(scale, 0))
    x, theta = jnp.asarray(wave(1, 0).x[0], float), jnp.asarray(wave(1, 0).condition[0], float)
    unit = jax.grad(lambda t: of_order_one[0].log_prob(x, t))(theta)
    found = jax.grad(lambda t: flow.log_prob(x, t))(scale * theta)
    np.testing.assert_allclose(scale * found, unit, atol=0.02)
    objective = mf.training.Scandal()
    phase = mf.training.Phase(
        objective, ("chart", "latent"), 2, start=mf.training.starts.place_chart
    )
    losses = []
    for size in (1.0, scale):
        data = wave(size, 0, score=True)
        flow = mf.models.ambient_flow(jr.key(0), (2,), (1,), layers=2, **SMALL)
        fitted = mf.fit(jr.key(1), flow, data, [phase], progress=False)
        losses.append([row["train"] for row in fitted.history])
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_a_trained_flow_with_a_condition_pickles(of_order_one):
    flow = of_order_one[0]
    assert eqx.tree_equal(pickle.loads(pickle.dumps(flow)), flow)


def test_the_posterior_of_a_year_is_that_of_order_one(of_order_one):
    flow = ambient(wave(20, 2000))
    x = wave(1, 0).x[:5]
    likelihoods = (
        mf.inference.log_likelihood(of_order_one[0], x),
        mf.inference.log_likelihood(flow, x),
    )
    for t in (0.2, 0.8):
        values = [
            float(f(jnp.asarray([v]))) for f, v in zip(likelihoods, (t, 2000 + 20 * t), strict=True)
        ]
        np.testing.assert_allclose(*values, atol=0.02)


def test_conditions_outside_the_range_of_training_warn(of_order_one):
    flow = of_order_one[0]
    with pytest.warns(
        OutsideTraining, match=r"condition\[0\] from 5 to 5, where training had 0\.0"
    ):
        flow.sample(jr.key(0), (3,), condition=jnp.asarray([5.0]))
    with pytest.warns(OutsideTraining):
        flow.log_prob(np.zeros(2), np.asarray([-0.5]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.log_prob(np.zeros(2), np.asarray([0.5]))


@pytest.mark.parametrize("value", [1e308, 1e30, np.nan, -np.inf])
def test_points_that_cannot_be_scored_are_refused(value):
    flow = ambient(Data(sheet()))
    x = sheet()
    x[7, 1] = value
    for method in (flow.log_prob, flow.distance, flow.score, flow.encode, flow.project):
        with pytest.raises(ValueError, match=r"x\[7, 1\]"):
            method(x)


def test_complex_and_masked_points_and_needless_conditions_are_refused():
    flow = ambient(Data(sheet()))
    with pytest.raises(ValueError, match="real numbers"):
        flow.log_prob(sheet() + 1j)
    with pytest.raises(ValueError, match="masked"):
        flow.log_prob(np.ma.masked_greater(sheet(), 1))
    with pytest.raises(ValueError, match="does not depend on one"):
        flow.log_prob(sheet(), np.ones(1))


def test_few_rows_that_make_the_moments_are_told_and_left_out():
    x = sheet()
    clean = ambient(Data(x)).log_prob(x)
    bad = x.copy()
    bad[5, 0] = 1e6
    with pytest.warns(OddData, match=r"variance of column 'x0'.*1 values, the first is 1e\+06"):
        found = ambient(Data(bad)).log_prob(x)
    assert abs(float(np.mean(found) - np.mean(clean))) < 0.3


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1)])
def test_rows_and_images_that_are_repeated_are_told(shape):
    x = np.repeat(sheet()[:20], 15, axis=0).reshape(-1, *shape)
    flow = mf.models.m_flow(jr.key(0), (3,), 2, chart_layers=2, latent_layers=1, **SMALL)
    with pytest.warns(OddData, match=r"Only 6\.7% of the rows are different"):
        examined(flow, Data(x), None)


def test_heavy_tails_are_learned_when_asked_for():
    x = np.random.default_rng(3).standard_t(1.5, size=(2000, 2))
    flow = ambient(Data(x), tails=True, affine=False, bins=3)
    from scipy.stats import t

    gap = t.logpdf(x, 1.5).sum(1) - np.asarray(flow.log_prob(x))
    assert abs(gap.mean()) < 0.3


def test_conditions_that_a_flow_takes_as_they_are_must_be_of_order_one():
    built = mf.models.ambient_flow(jr.key(0), (2,), (1,), layers=2, **SMALL)
    by_hand = mf.Flow(built.chart, built.latent)
    recipe = mf.recipes.maximum_likelihood(1)
    with pytest.warns(OddData, match="column 'theta0' is far from order 1"):
        mf.fit(jr.key(1), by_hand, wave(20, 2000), recipe, progress=False)
    mf.fit(jr.key(1), by_hand, wave(1, 0), recipe, progress=False)


def test_a_row_far_off_among_those_held_out_is_told_too():
    held_out = sheet()[:30].copy()
    held_out[3, 2] = -1e6
    flow = mf.models.ambient_flow(jr.key(0), (3,), layers=2, **SMALL)
    recipe = mf.recipes.maximum_likelihood(1)
    with pytest.warns(OddData, match=r"column 'x2'.*1 values, the first is -1e\+06"):
        mf.fit(jr.key(1), flow, sheet(), recipe, validation=held_out, progress=False)
