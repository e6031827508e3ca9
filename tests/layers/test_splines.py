"""Spline stacks: where they start, what they keep, and that they invert in single precision."""

from functools import cache

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import example, given
from paramax import unwrap
from tests.registry import SMALL, disturbed, key

from mflows.charts import BijectionChart, Pad, spline_coupling, spline_stack
from mflows.layers.splines import _transformer, permutations

INTERVAL = SMALL["interval"]


@pytest.mark.parametrize("dim", [3, 5, 8])
def test_permutations_are_orders_and_turn_all_coordinates(dim):
    orders = np.asarray(permutations(jr.key(0), dim, 12))
    assert (np.sort(orders) == np.arange(dim)).all()
    turn = -(-dim // (dim // 2))
    transformed = {int(i) for row in orders[:turn] for i in row[dim - dim // 2 :]}
    assert transformed == set(range(dim))


@pytest.mark.parametrize("dim", [3, 5])
def test_permutations_are_not_their_own_inverses(dim):
    orders = np.asarray(permutations(jr.key(0), dim, 4))
    assert any((order[order] != np.arange(dim)).any() for order in orders)


@pytest.mark.parametrize(("dim", "kept"), [(1, 0), (2, 1), (3, 2), (5, 3), (8, 4)])
def test_a_layer_conditions_on_the_larger_half(dim, kept):
    assert spline_coupling(key(0), dim, **SMALL).untransformed_dim == kept


@pytest.mark.parametrize("linear", [False, True])
def test_a_stack_starts_at_the_identity_whatever_its_permutations(linear):
    layers = spline_stack(key(0), 3, layers=4, linear=linear, **SMALL)
    x = jnp.array([0.5, -1.0, 2.0])
    np.testing.assert_allclose(layers.transform(x), x, atol=0.05)
    assert not np.allclose(layers.transform(x), x, atol=1e-6)


@pytest.mark.parametrize("linear", [False, True])
def test_a_stack_without_log_determinants_is_the_same_map(linear):
    layers = disturbed(spline_stack(key(0), 5, layers=4, linear=linear, **SMALL))
    x = jr.normal(key(1), (5,))
    np.testing.assert_allclose(layers.transform(x), layers.transform_and_log_det(x)[0])
    np.testing.assert_allclose(layers.inverse(x), layers.inverse_and_log_det(x)[0])


@pytest.mark.parametrize(("latent_dim", "spared"), [(1, True), (3, True), (4, False)])
@pytest.mark.parametrize("linear", [False, True])
def test_an_encoder_spares_a_first_layer_that_it_would_drop(latent_dim, spared, linear):
    layers = disturbed(spline_stack(key(0), 5, layers=4, linear=linear, **SMALL))
    x = jr.normal(key(1), (5,))
    u = Pad(latent_dim, 5).then(layers).encode(x)
    np.testing.assert_allclose(u, layers.inverse_and_log_det(x)[0][:latent_dim], atol=1e-12)
    numbers, rest = eqx.partition(layers, eqx.is_inexact_array)
    unusable = eqx.combine(jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), numbers), rest)
    u = Pad(latent_dim, 5).then(unusable).encode(x)
    assert bool(jnp.isfinite(u).all()) == (spared and not linear)


def test_stacks_with_equal_settings_share_their_structure():
    first, second = (spline_stack(key(seed), 2, layers=2, **SMALL) for seed in (0, 1))
    assert jax.tree.structure(first) == jax.tree.structure(second)


def test_a_stack_first_built_while_tracing_works_outside():
    """The cached spline holds no values of the trace in which it was first made."""
    _transformer.cache_clear()
    shapes = eqx.filter_eval_shape(lambda: spline_stack(jr.key(0), 2, layers=1, **SMALL))
    zeros = jax.tree.map(
        lambda leaf: (
            jnp.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf
        ),
        shapes,
    )
    assert np.isfinite(zeros.transform(jnp.array([0.3, -0.2]))).all()


# Single precision --------------------------------------------------------------------------------


@cache
def _round_trip(dim: int):
    """Decode and encode in float32, compiled once per dimension."""
    with jax.enable_x64(False):
        layers = disturbed(spline_stack(key(dim), dim, layers=3, **SMALL), 0.1)
        chart = unwrap(BijectionChart(layers))
        compiled = jax.jit(lambda u: chart.encode(chart.decode(u)))
        compiled(jnp.zeros(dim, jnp.float32))
    return compiled


EDGES = [-INTERVAL, INTERVAL, float(np.nextafter(np.float32(INTERVAL), np.float32(99))), 0.0]
NUMBERS = st.one_of(
    st.floats(-3 * INTERVAL, 3 * INTERVAL, width=32, allow_subnormal=False),
    st.sampled_from(EDGES),
)


@pytest.mark.parametrize("dim", [1, 3])
@given(data=st.lists(NUMBERS, min_size=3, max_size=3))
@example(data=[INTERVAL] * 3)
@example(data=[-INTERVAL] * 3)
@example(data=[INTERVAL, 2 * INTERVAL, -3 * INTERVAL])
def test_points_in_at_and_beyond_the_interval_round_trip_in_single_precision(dim, data):
    with jax.enable_x64(False):
        u = jnp.asarray(data[:dim], jnp.float32)
        back = _round_trip(dim)(u)
    assert back.dtype == jnp.float32
    np.testing.assert_allclose(back, u, rtol=1e-5, atol=1e-5)


def test_splines_can_be_built_in_single_precision_after_double():
    settings = {"layers": 1, "bins": 7, "width": 4}
    spline_stack(jr.key(0), 2, **settings)
    with jax.enable_x64(False):  # would warn of numbers in double precision
        single = spline_stack(jr.key(0), 2, **settings).bijection.inner
        parameters = single.transformer_constructor(np.zeros(20, np.float32)).parameters
    assert parameters.dtype == np.float32
