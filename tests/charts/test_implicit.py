"""The stable inverse: FlowJAX's function and derivatives, and never NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paramax import unwrap

from mflows.charts import ImplicitSpline
from mflows.charts.splines import _spline

COUNT = 3000


@pytest.fixture
def constructor():
    """Make a spline on [-6, 6] from its 31 parameters, in the precision of the test."""
    _spline.cache_clear()
    yield _spline(10, 6.0)[1]
    _spline.cache_clear()


def _inverses(build, second_order=True):
    """Inverse and log-determinant; their gradient; a second derivative if wanted."""

    def both(theta, y):
        return jnp.stack(unwrap(build(theta)).inverse_and_log_det(y))

    def gradient(theta, y):
        return jax.grad(lambda theta, y: both(theta, y).sum(), (0, 1))(theta, y)

    def second(theta, y):
        return jax.grad(lambda theta, y: gradient(theta, y)[1], (0, 1))(theta, y)

    functions = (both, gradient, second) if second_order else (both, gradient)
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(
        jax.vmap(lambda theta, y: tuple(f(theta, y) for f in functions)), compiler_options=options
    )


def test_it_is_flowjax_s_inverse_with_the_same_derivatives(constructor):
    rng = np.random.default_rng(0)
    theta, y = rng.normal(size=(COUNT, 31)), rng.uniform(-7, 7, COUNT)
    ours = _inverses(constructor)(theta, y)
    theirs = _inverses(lambda theta: constructor(theta).spline)(theta, y)
    assert isinstance(constructor(theta[0]), ImplicitSpline)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8), ours, theirs)


def test_the_gradient_of_the_argument_alone_is_the_inverse_slope(constructor):
    spline = unwrap(constructor(jnp.linspace(-1, 1, 31)))
    slope = jax.grad(spline.transform)(spline.inverse(1.3))
    np.testing.assert_allclose(jax.grad(spline.inverse)(1.3), 1 / slope, rtol=1e-10)


def test_nothing_is_nan_in_single_precision():
    """Small slopes, and points at and beyond the interval: FlowJAX's own inverse fails here."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(False):
        _spline.cache_clear()
        constructor = _spline(10, 6.0)[1]
        theta = jnp.asarray(5 * rng.normal(size=(10 * COUNT, 31)), jnp.float32)
        edge = rng.choice(np.float32([-6, 6, 6.0000005, 5.9999995, 6.5, 9]), 9 * COUNT)
        y = jnp.asarray([*rng.uniform(-7, 7, COUNT), *edge], jnp.float32)
        ours = _inverses(constructor, False)(theta, y)
        _spline.cache_clear()
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(ours))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(ours))
