"""Circular splines: a diffeomorphism of the circle, with no trace of the seam."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.registry import CIRCULAR, circular, key

from mflows.charts import CircularSpline, circular_spline_stack

BINS = 5


@pytest.fixture(scope="module")
def evaluate():
    rng = np.random.default_rng(0)
    values = (jnp.asarray(rng.normal(size=3 * BINS)), jnp.asarray(2.0))
    spline = eqx.tree_at(lambda s: (s.parameters, s.turn), CircularSpline(BINS), values)
    return jax.jit(jax.vmap(spline.transform_and_log_det)), jax.jit(jax.vmap(spline.inverse))


def test_it_starts_as_the_identity():
    x = jnp.linspace(-3, 3, 7)
    y, log_slope = jax.vmap(CircularSpline(BINS).transform_and_log_det)(x)
    np.testing.assert_allclose(y, x, atol=1e-12)
    np.testing.assert_allclose(log_slope, 0, atol=1e-12)


def test_value_and_slope_are_continuous_across_the_seam(evaluate):
    transform, _ = evaluate
    x = np.pi + np.array([-1e-9, 0.0, 1e-9, -2 * np.pi])  # the last is the seam from the other side
    y, log_slope = transform(x)
    np.testing.assert_allclose(np.exp(1j * y), np.exp(1j * y[0]), atol=1e-7)
    np.testing.assert_allclose(log_slope, log_slope[0], atol=1e-6)
    assert abs(log_slope[0]) > 0.1  # learned, not 1


def test_it_winds_around_once(evaluate):
    transform, inverse = evaluate
    x = np.linspace(-np.pi, np.pi, 4001)
    y, log_slope = transform(x)
    assert (np.abs(y) <= np.pi).all()
    unwound = np.unwrap(y)
    assert (np.diff(unwound) > 0).all()
    np.testing.assert_allclose(unwound[-1] - unwound[0], 2 * np.pi, rtol=1e-9)
    np.testing.assert_allclose(
        np.gradient(unwound, x)[1:-1], np.exp(log_slope)[1:-1], rtol=0.05, atol=1e-3
    )
    np.testing.assert_allclose(np.exp(1j * inverse(y)), np.exp(1j * x), atol=1e-9)


def test_full_turns_change_nothing():
    layers = circular(3, cond_dim=2)
    both = jax.jit(lambda x, theta: layers.transform_and_log_det(x, theta))
    theta, x = jnp.ones(2), jnp.array([0.4, -3.0, 1.2])
    (y, log_det), (turned, same) = (
        both(x, theta),
        both(x + 2 * np.pi * jnp.array([1, -2, 3]), theta),
    )
    np.testing.assert_allclose(np.exp(1j * turned), np.exp(1j * y), atol=1e-10)
    np.testing.assert_allclose(same, log_det, atol=1e-10)
    assert not np.allclose(y, x, atol=0.1)


def test_a_stack_starts_near_the_identity():
    x = jnp.array([0.4, -3.0, 1.2])
    layers = circular_spline_stack(key(0), 3, **CIRCULAR)
    np.testing.assert_allclose(layers.transform(x), x, atol=0.05)


def test_it_is_finite_at_the_seam_in_single_precision():
    with jax.enable_x64(False):
        spline = CircularSpline(BINS)
        x = jnp.float32(np.pi) * jnp.array([1, -1, 1.0000002, -1.0000002], jnp.float32)
        rng = np.random.default_rng(1)
        parameters = jnp.asarray(rng.normal(size=3 * BINS), jnp.float32)

        def both(parameters, x):
            moved = eqx.tree_at(lambda s: s.parameters, spline, parameters)
            return sum(moved.transform_and_log_det(x)) + sum(moved.inverse_and_log_det(x))

        values, gradients = jax.jit(jax.vmap(jax.value_and_grad(both), (None, 0)))(parameters, x)
        moved = eqx.tree_at(lambda s: s.parameters, spline, parameters)
        slopes = jax.jit(jax.vmap(lambda x: moved.transform_and_log_det(x)))(x)[1]
    assert values.dtype == jnp.float32
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-4)
