"""Circles, spheres, tori, products and a user's own functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mflows.charts import Circle, FunctionChart, Pad, Product, Sphere, Torus
from mflows.layers.rational_quadratic import wrapped


def test_coordinates_are_those_of_the_textbook():
    theta, phi = 0.7, -2.1
    point = [np.cos(theta), np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi)]
    np.testing.assert_allclose(Sphere(2).decode(jnp.array([theta, phi])), point)
    np.testing.assert_allclose(Circle().decode(jnp.array([phi])), [np.cos(phi), np.sin(phi)])
    both = [np.cos(theta), np.sin(theta), np.cos(phi), np.sin(phi)]
    np.testing.assert_allclose(Torus(2).decode(jnp.array([theta, phi])), both)
    assert (Circle().shape, Sphere(3).shape, Torus(3).shape) == ((2,), (4,), (6,))


@pytest.mark.parametrize("chart", [Sphere(1), Sphere(2), Sphere(4), Torus(2)])
def test_every_point_has_coordinates_in_their_ranges(chart):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(100, *chart.shape)))
    u = jax.vmap(chart.encode)(x)
    n = chart.latent_dim
    polar = n - 1 if isinstance(chart, Sphere) else 0
    assert (u[:, :polar] >= 0).all()
    assert (u[:, :polar] <= np.pi).all()
    assert (u[:, polar:] >= -np.pi).all()
    assert (u[:, polar:] < np.pi).all()
    projected = jax.vmap(chart.decode)(u)
    if isinstance(chart, Sphere):
        np.testing.assert_allclose(projected, x / jnp.linalg.norm(x, axis=1)[:, None], atol=1e-12)


def test_angles_are_half_open():
    np.testing.assert_array_equal(Circle().encode(jnp.array([-1.0, 0.0])), [-np.pi])
    np.testing.assert_array_equal(Circle().encode(jnp.array([-1.0, -0.0])), [-np.pi])
    np.testing.assert_array_equal(Sphere(2).encode(jnp.array([-1.0, 0.0, 0.0])), [np.pi, 0])
    np.testing.assert_allclose(
        wrapped(jnp.array([4.0, -4.0, 1.0])), [4 - 2 * np.pi, 2 * np.pi - 4, 1]
    )


@pytest.mark.parametrize("x64", [True, False])
def test_coordinates_and_volume_are_finite_with_finite_derivatives_at_the_poles(x64):
    with jax.enable_x64(x64):
        chart = Sphere(3)
        slopes = jax.jit(lambda x, u: (jax.jacfwd(chart.encode)(x), jax.grad(chart.log_volume)(u)))
        for x in ([1, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, -1, 0, 0]):
            x = jnp.array(x, dtype=float)
            u = chart.encode(x)
            np.testing.assert_allclose(chart.decode(u), x, atol=1e-6)
            assert np.isfinite(chart.log_volume(u))
            assert all(np.isfinite(slope).all() for slope in slopes(x, u))
            assert u.dtype == x.dtype


def test_near_the_poles_nothing_is_lost_in_single_precision():
    with jax.enable_x64(False):
        chart = Sphere(2)
        x = jnp.array([1.0, 3e-6, -4e-6])
        np.testing.assert_allclose(chart.decode(chart.encode(x)), x, rtol=1e-6)
        np.testing.assert_allclose(chart.log_volume(chart.encode(x)), np.log(5e-6), rtol=1e-6)


def test_a_product_splits_what_its_parts_share_out():
    chart = Product(Circle(), Pad(2, 3))
    x = chart.decode(jnp.array([0.5, 2.0, 3.0]))
    np.testing.assert_allclose(x, [np.cos(0.5), np.sin(0.5), 2, 3, 0])
    assert chart.latent_dim == 3
    for parts in ((), (FunctionChart(jnp.sum, lambda x: x[None], shape=(), latent_dim=1),)):
        with pytest.raises(ValueError, match=r"one or more charts of shape \(D,\)"):
            Product(*parts)


@pytest.mark.parametrize("kind", [Sphere, Torus])
def test_there_is_no_manifold_of_dimension_zero(kind):
    with pytest.raises(ValueError, match="n >= 1"):
        kind(0)


def test_functions_of_the_wrong_shape_are_refused_at_once():
    def decode(u):
        return jnp.append(u, u**2)

    def good(x):
        return x[:1]

    message = (
        r"Expected `encode` to turn one array of shape \(2,\) into one of shape \(1,\); got \(\)"
    )
    with pytest.raises(ValueError, match=message):
        FunctionChart(decode, lambda x: x[0], shape=(2,), latent_dim=1)
    with pytest.raises(ValueError, match=r"`decode` .* of shape \(3,\); got \(2,\)"):
        FunctionChart(decode, good, shape=(3,), latent_dim=1)
    with pytest.raises(ValueError, match=r"got tuple\. It acts on one point"):
        FunctionChart(decode, lambda x: (x,), shape=(2,), latent_dim=1)
