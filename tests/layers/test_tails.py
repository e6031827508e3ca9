"""Heavy tails: the map and its inverse, its slope, and the index found in data of known tails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paramax import unwrap
from scipy import stats

from mflows.charts import Placement
from mflows.layers.tails import heavier, lighter, tail_indices

Z = np.concatenate([-np.logspace(-3, 3, 60)[::-1], [0.0], np.logspace(-3, 3, 60)])


@pytest.mark.parametrize("index", [(0.0, 0.0), (0.5, 0.5), (1.0, 0.3), (0.0, 2.0)])
def test_the_inverse_inverts_and_slopes_are_those_of_autodiff(index):
    index = jnp.asarray(index)
    x, slope = heavier(jnp.asarray(Z), index[:, None])
    back, inverse_slope = lighter(x, index[:, None])
    np.testing.assert_allclose(back, Z, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(inverse_slope, -slope, rtol=1e-8, atol=1e-8)
    derivative = jax.vmap(jax.grad(lambda z: heavier(z, index)[0]))(jnp.asarray(Z[Z != 0]))
    np.testing.assert_allclose(jnp.log(derivative), slope[Z != 0], rtol=1e-9, atol=1e-9)


def test_in_single_precision_numbers_far_out_come_back_with_their_derivative():
    """Charts that learn put points there; a loss that is not finite ends the training."""
    index = jnp.asarray([0.5, 2.0], dtype=jnp.float32)
    z = jnp.asarray([-1e6, -50, -13, -12, 6, 7, 30, 1e6], dtype=jnp.float32)
    there_and_back = jax.value_and_grad(lambda z: lighter(heavier(z, index)[0], index)[0])
    value, derivative = jax.vmap(there_and_back)(z)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, z, rtol=1e-4)
    np.testing.assert_allclose(derivative, 1, rtol=1e-3)


def test_a_normal_becomes_one_of_power_tails():
    """P(T(z) > t) t^(1/lambda) tends to a constant."""
    index = jnp.asarray([0.5, 0.5])[:, None]
    t = jnp.asarray([1e3, 1e4, 1e5])
    beyond = stats.norm.sf(np.asarray(lighter(t, index)[0]))
    np.testing.assert_allclose(beyond * t**2, beyond[-1] * t[-1] ** 2, rtol=0.01)


@pytest.mark.parametrize(
    ("draw", "lower", "upper"),
    [
        (lambda rng, n: rng.normal(size=n), 0, 0),
        (lambda rng, n: rng.uniform(-2, 2, size=n), 0, 0),
        (lambda rng, n: rng.standard_t(1.5, size=n), 1 / 1.5, 1 / 1.5),
        (lambda rng, n: rng.standard_cauchy(size=n), 1, 1),
        (lambda rng, n: np.exp(1.5 * rng.normal(size=n)), 0, None),
    ],
)
def test_tails_are_found_where_there_are_some(draw, lower, upper):
    x = draw(np.random.default_rng(0), 20_000)[:, None]
    found = tail_indices((x - np.median(x)) / stats.iqr(x) * 1.35)
    assert found[0] == pytest.approx(lower, abs=0.15)
    assert found[1] > 0.4 if upper is None else found[1] == pytest.approx(upper, abs=0.15)


def test_a_placement_with_tails_has_the_determinant_of_its_jacobian():
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(3, 2)))[0].T
    layer = Placement([1.0, 2, 3], [1.0, 10, 0.1], plane, [[0.5, 0, 1], [0, 0.7, 1]])
    layer = unwrap(layer)
    for z in jnp.asarray(rng.normal(size=(5, 3)) * 2):
        x, log_det = layer.transform_and_log_det(z)
        exact = jnp.linalg.slogdet(jax.jacobian(layer.transform)(z))[1]
        np.testing.assert_allclose(log_det, exact, rtol=1e-9)
        np.testing.assert_allclose(layer.inverse(x), z, rtol=1e-8)
        np.testing.assert_allclose(layer.inverse_and_log_det(x)[1], -log_det, rtol=1e-8)
