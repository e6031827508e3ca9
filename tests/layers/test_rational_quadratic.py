"""The spline: FlowJAX's function and derivatives, a smooth end, and never NaN."""

import equinox as eqx
import flowjax.bijections
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mflows.charts import RationalQuadraticSpline
from mflows.layers.rational_quadratic import MIN_SIZE, MIN_SLOPE

BINS, INTERVAL, COUNT = 10, 6.0, 3000


def ours(parameters):
    template = RationalQuadraticSpline(BINS, INTERVAL)
    return eqx.tree_at(lambda spline: spline.parameters, template, parameters)


def flowjax_s(parameters):
    """FlowJAX's spline through the same knots, with the same slopes."""
    widths, heights, slopes = jnp.split(parameters, (BINS, 2 * BINS))

    def positions(logits):
        sizes = 2 * INTERVAL * (MIN_SIZE + (1 - BINS * MIN_SIZE) * jax.nn.softmax(logits))
        return jnp.concatenate((jnp.array([-INTERVAL]), jnp.cumsum(sizes) - INTERVAL))

    shift = jnp.log(jnp.expm1(1 - MIN_SLOPE))
    slopes = jnp.pad(MIN_SLOPE + jax.nn.softplus(slopes + shift), 1, constant_values=1.0)
    return eqx.tree_at(
        lambda spline: (spline.x_pos, spline.y_pos, spline.derivatives),
        flowjax.bijections.RationalQuadraticSpline(knots=BINS - 1, interval=INTERVAL),
        (positions(widths), positions(heights), slopes),
    )


def derivatives(build, direction, order=2):
    """Value and log-determinant; their gradient; a second derivative if wanted."""

    def both(theta, x):
        return jnp.stack(getattr(build(theta), f"{direction}_and_log_det")(x))

    def gradient(theta, x):
        return jax.grad(lambda theta, x: both(theta, x) @ jnp.array([1.0, 0.7]), (0, 1))(theta, x)

    def second(theta, x):
        return jax.grad(lambda theta, x: gradient(theta, x)[1], (0, 1))(theta, x)

    functions = (both, gradient, second)[: order + 1]
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(
        jax.vmap(lambda theta, x: tuple(f(theta, x) for f in functions)), compiler_options=options
    )


@pytest.mark.parametrize("direction", ["transform", "inverse"])
def test_it_is_flowjax_s_function_with_the_same_derivatives(direction):
    rng = np.random.default_rng(0)
    theta, x = rng.normal(size=(COUNT, 3 * BINS - 1)), rng.uniform(-7, 7, COUNT)
    found, expected = (derivatives(build, direction)(theta, x) for build in (ours, flowjax_s))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7), found, expected
    )


@pytest.mark.parametrize("direction", ["transform", "inverse"])
def test_forward_mode_agrees_with_reverse_mode(direction):
    theta, dtheta = np.random.default_rng(1).normal(size=(2, 3 * BINS - 1))

    def both(theta, x):
        return jnp.stack(getattr(ours(theta), f"{direction}_and_log_det")(x))

    @jax.jit
    def tangents(theta, x, dtheta, dx):
        rows = jax.jacrev(both, (0, 1))(theta, x)
        return jax.jvp(both, (theta, x), (dtheta, dx))[1], rows[0] @ dtheta + rows[1] * dx

    forward, reverse = tangents(theta, 1.3, dtheta, 0.4)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10)


def test_it_starts_as_the_identity_and_ends_with_slope_one():
    evaluate = jax.jit(
        jax.vmap(lambda theta, x: ours(theta).transform_and_log_det(x), in_axes=(None, 0))
    )
    x = np.linspace(-7, 7, 101)
    y, log_slope = evaluate(jnp.zeros(3 * BINS - 1), x)
    np.testing.assert_allclose(y, x, atol=1e-12)
    np.testing.assert_allclose(log_slope, 0, atol=1e-12)
    edges = np.array([-INTERVAL, INTERVAL]) * (1 - 1e-9)
    _, log_slope = evaluate(jnp.linspace(-2, 2, 3 * BINS - 1), edges)
    np.testing.assert_allclose(log_slope, 0, atol=1e-5)


def test_nothing_is_nan_in_single_precision():
    """Small slopes, and points at and beyond the interval: FlowJAX's own inverse fails here."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(False):
        theta = jnp.asarray(5 * rng.normal(size=(10 * COUNT, 3 * BINS - 1)), jnp.float32)
        edge = rng.choice(np.float32([-6, 6, 6.0000005, 5.9999995, 6.5, 9]), 9 * COUNT)
        y = jnp.asarray([*rng.uniform(-7, 7, COUNT), *edge], jnp.float32)
        theirs = jax.vmap(lambda theta: (lambda s: (s.x_pos, s.y_pos))(flowjax_s(theta)))(theta)
        for direction, knots in zip(("transform", "inverse"), theirs, strict=True):
            knots = np.asarray(knots)[np.arange(len(y)), rng.integers(1, BINS, len(y))]
            beside = np.nextafter(knots, rng.choice(np.float32([-9, 9]), len(y)))
            y = jnp.where(np.arange(len(y)) % 2, y, beside)  # half of them at inner knots
            found = derivatives(ours, direction, order=1)(theta, y)
            assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    ("bins", "interval", "message"),
    [(0, 6.0, "bins from 1 to 999; got 0"), (1000, 6.0, "got 1000"), (10, 0.0, "half width > 0")],
)
def test_settings_that_make_no_spline(bins, interval, message):
    with pytest.raises(ValueError, match=message):
        RationalQuadraticSpline(bins, interval)


def test_one_bin_is_enough():
    theta, x = jnp.array([0.3, -0.2]), jnp.linspace(-5, 5, 7)
    spline = eqx.tree_at(lambda s: s.parameters, RationalQuadraticSpline(1, 4.0), theta)
    np.testing.assert_allclose(jax.vmap(spline.transform)(x), x, atol=1e-12)
