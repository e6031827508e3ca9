"""Ill-conditioned points are told, and double precision is there for them."""

import re
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.distributions import StandardNormal, Uniform
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from paramax import unwrap
from scipy.special import softmax
from tests.volume.test_volume import stretched

import mflows as mf
from mflows.charts import RationalQuadraticSpline, Sphere
from mflows.layers.rational_quadratic import MIN_SIZE
from mflows.volume import Exact


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e9])
def test_the_condition_number_is_that_of_the_jacobian(condition):
    flow = mf.Flow(stretched(3, 5, condition)[0], StandardNormal((3,)))
    found = flow.condition_number(flow.sample(jax.random.key(0), (4,)))
    np.testing.assert_allclose(found, condition, rtol=1e-5)
    assert not flow.ill_conditioned(jnp.zeros((2, 5))).any()  # double precision resolves it


def test_in_single_precision_ill_conditioned_points_are_told_where_log_prob_is_off():
    with jax.enable_x64(False):
        for condition, doubtful in ((1e3, False), (1e7, True)):
            chart, expected = stretched(3, 5, condition)
            flow = mf.Flow(chart, StandardNormal((3,)))
            assert bool(flow.ill_conditioned(jnp.zeros(5))) is doubtful
            error = abs(float(Exact().log_volume(unwrap(chart), jnp.zeros(3))) - expected)
            assert (error > 0.01) is doubtful


def test_a_collapsed_chart_is_ill_conditioned_in_any_precision():
    flat = mf.Flow(stretched(3, 5, 1e300)[0], StandardNormal((3,)))
    assert bool(flat.ill_conditioned(jnp.zeros(5)))


def test_an_ambient_flow_takes_no_jacobian(monkeypatch):
    flow = mf.models.ambient_flow(jax.random.key(0), (3,), layers=1, bins=3, width=4)
    monkeypatch.setattr(mf.Flow, "condition_number", None)  # D tangents for every point
    monkeypatch.setattr(mf.Flow, "_condition_number", None)
    assert not flow.ill_conditioned(jnp.zeros((4, 3))).any()
    score = flow.score(jnp.zeros((4, 3)))
    assert score.condition_number is None
    assert score.ill_conditioned.tolist() == [False] * 4


@pytest.mark.parametrize("condition", [10.0, 1e300])
def test_one_pass_gives_what_three_do(condition):
    flow = mf.Flow(stretched(3, 5, condition)[0], StandardNormal((3,)))
    x = np.random.default_rng(0).normal(size=(4, 5))
    score = flow.score(x)
    np.testing.assert_array_equal(score.log_prob, flow.log_prob(x))
    np.testing.assert_allclose(score.distance, flow.distance(x), rtol=1e-12)
    np.testing.assert_allclose(score.condition_number, flow.condition_number(x), rtol=1e-12)
    np.testing.assert_array_equal(score.ill_conditioned, flow.ill_conditioned(x))
    assert score.ill_conditioned.all() == (condition > 1e15)


def test_a_sphere_at_its_pole_is_not():
    box = Uniform(jnp.array([0.0, -np.pi]), jnp.array([np.pi, np.pi]))
    sphere = mf.Flow(Sphere(2), box)
    assert not sphere.ill_conditioned(jnp.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])).any()
    assert sphere.ill_conditioned(jnp.zeros((3, 3))).shape == (3,)


@pytest.mark.parametrize("asked", [None, "tensorfloat32"])
def test_no_product_is_rounded_unless_asked_for(asked):
    """What an accelerator does with a product is in its precision; that of the CPU is the same."""
    flow = mf.models.m_flow(
        *(jax.random.key(0), (5,), 2), chart_layers=2, latent_layers=2, linear=True, bins=3, width=4
    )
    with jax.default_matmul_precision(asked):
        program = str(jax.make_jaxpr(flow.log_prob_and_distance)(jnp.zeros((3, 5))))
    found = re.findall(r"dot_general\[.*?precision=(.*?)\n", program, re.DOTALL)
    assert "HIGHEST" in "".join(found)  # placements, LU maps and splines, whatever is asked for
    assert all("HIGHEST" in precision for precision in found) is (asked is None)


# Splines ---------------------------------------------------------------------------------------

BINS, INTERVAL = 6, 4.0
EDGES = np.float32([-INTERVAL, 0, INTERVAL])


@cache
def directions():
    """The spline and its inverse, compiled once in single precision."""
    with jax.enable_x64(False):
        base = RationalQuadraticSpline(BINS, INTERVAL)

    def of(direction):
        def function(theta, x):
            spline = eqx.tree_at(lambda spline: spline.parameters, base, theta)
            return getattr(spline, f"{direction}_and_log_det")(x)

        return jax.jit(function)

    return of("transform"), of("inverse")


def knots(theta: np.ndarray) -> np.ndarray:
    """Edges of the bins."""
    sizes = MIN_SIZE + (1 - MIN_SIZE * BINS) * softmax(theta[:BINS])
    return np.float32(INTERVAL * (2 * np.cumsum(sizes) - 1))


@given(
    theta=arrays(np.float32, 3 * BINS - 1, elements=st.floats(-4, 4, width=32)),
    x=st.sampled_from([*EDGES, *np.nextafter(EDGES, np.float32(9))])
    | st.floats(-INTERVAL, INTERVAL, width=32)
    | st.floats(-100, 100, width=32),
    knot=st.none() | st.integers(0, BINS - 1),
)
@settings(max_examples=200)
def test_splines_round_trip_in_single_precision(theta, x, knot):
    """At and beyond the ends of the interval and at bin edges: to 1e-5 of the interval.

    Where the spline is flat a rounding error of y is a larger one of x, by the inverse slope.
    """
    with jax.enable_x64(False):
        there, back = directions()
        x = np.float32(x if knot is None else knots(theta)[knot])
        y, log_slope = there(theta, x)
        again, log_back = back(theta, y)
        size = 1e-5 * max(abs(x), INTERVAL)
        assert abs(again - x) <= size * max(1, np.exp(-log_slope))
        assert abs(there(theta, again)[0] - y) <= size
        if abs(x) >= INTERVAL:
            assert y == x
            assert log_slope == log_back == 0
