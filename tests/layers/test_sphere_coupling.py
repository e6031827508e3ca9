"""Sphere layers: on the sphere, smooth at the poles, exact in their log-determinant."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.registry import CIRCULAR, disturbed, key

from mflows.charts import SphereCoupling, sphere_spline_stack

SETTINGS = {"width": 8, "bins": 4}


def recast(layer):
    """The layer with weights of the default precision."""

    def cast(leaf):
        return jnp.asarray(leaf, float) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(cast, layer)


@pytest.fixture(scope="module", params=[3, 4])
def layer(request):
    return disturbed(SphereCoupling(key(0), request.param, **SETTINGS), 0.3)


def test_lengths_stay_and_log_det_is_intrinsic(layer):
    """The area that tangents of the sphere span, measured apart from the ambient determinant."""
    dim = layer.shape[0]
    rng = np.random.default_rng(0)

    @jax.jit
    @jax.vmap
    def evaluate(x):
        y, log_det = layer.transform_and_log_det(x)
        return y, log_det, jax.jacfwd(layer.transform)(x)

    x = rng.normal(size=(20, dim))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y, log_det, jacobian = evaluate(x)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1, rtol=1e-12)
    for point, ours, matrix in zip(x, log_det, np.asarray(jacobian), strict=True):
        tangents = np.linalg.svd(point[None])[2][1:]
        moved = tangents @ matrix.T
        np.testing.assert_allclose(ours, np.linalg.slogdet(moved @ moved.T)[1] / 2, atol=1e-9)
    assert np.abs(log_det).max() > 0.1
    np.testing.assert_allclose(layer.transform(3 * x[0]), 3 * y[0], rtol=1e-12)


@pytest.mark.parametrize(("x64", "atol"), [(True, 1e-7), (False, 1e-3)])
def test_the_poles_are_ordinary_points(layer, x64, atol):
    """Approaching a pole from all sides gives the value at the pole; its derivative is finite."""
    dim = layer.shape[0]
    with jax.enable_x64(x64):
        cast = recast(layer)
        rng = np.random.default_rng(1)
        across = (
            rng.normal(size=(6, dim - 1)) * np.array([0, 1e-30, 1e-9, 1e-6, 1e-5, 1e-4])[:, None]
        )
        x = np.concatenate([np.column_stack([across, np.full(6, side)]) for side in (1.0, -1.0)])
        x = jnp.asarray(x, float)

        @jax.jit
        @jax.vmap
        def evaluate(x):
            y, log_det = cast.transform_and_log_det(x)
            gradient = jax.grad(lambda x: jnp.sum(jnp.stack([*cast.transform(x), log_det])))
            return y, log_det, gradient(x), cast.inverse(y)

        y, log_det, gradient, back = evaluate(x)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y, x, atol=1e-4 * atol + 1e-7)
    np.testing.assert_allclose(log_det, 0, atol=atol)
    np.testing.assert_allclose(back, x, atol=1e-6)
    assert np.isfinite(gradient).all()


def test_around_a_pole_the_log_determinant_is_continuously_differentiable():
    """Along a line through the pole, slopes on either side agree: they are 0 there."""
    layer = disturbed(SphereCoupling(key(0), 3, **SETTINGS), 0.3)
    step = 1e-6
    t = np.array([-2, -1, 1, 2]) * step
    x = np.stack([0.6 * np.sin(t), 0.8 * np.sin(t), np.cos(t)], axis=-1)
    _, log_det = jax.jit(jax.vmap(lambda x: layer.transform_and_log_det(x)))(x)
    slopes = np.diff(log_det)[[0, 2]] / step
    np.testing.assert_allclose(slopes, 0, atol=1e-3)


def test_the_ratio_is_the_same_by_both_formulas():
    """On either side of the place where the trapezoidal rule takes over."""
    with jax.enable_x64(False):
        layer = disturbed(SphereCoupling(key(0), 4, **SETTINGS), 0.3)
        layer = recast(layer)
        rho = np.sqrt(2 * np.sqrt(np.finfo(np.float32).eps)) * np.array([0.99, 1.01])
        x = jnp.asarray([[0.6 * r, 0.8 * r, 0.0, np.sqrt(1 - r**2)] for r in rho], jnp.float32)
        _, log_det = jax.jit(jax.vmap(lambda x: layer.transform_and_log_det(x)))(x)
    np.testing.assert_allclose(log_det[0], log_det[1], atol=2e-3)


def test_a_stack_starts_near_the_identity():
    x = np.random.default_rng(0).normal(size=3)
    np.testing.assert_allclose(
        sphere_spline_stack(key(1), 3, **CIRCULAR).transform(x), x, atol=0.05
    )


def test_circles_are_no_spheres_here():
    with pytest.raises(ValueError, match="dim >= 3, a sphere and not a circle; got 2"):
        SphereCoupling(key(0), 2)
