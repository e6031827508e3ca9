"""How charts are put together, and what they refuse."""

import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.bijections import Affine, Chain
from tests.registry import SMALL, key, placement, scanned, spline

from mflows.charts import (
    BijectionChart,
    Composed,
    Pad,
    Placement,
    place,
    placement_of,
    spline_stack,
)


def test_then_on_a_whole_space_keeps_it_whole():
    chart = BijectionChart(placement(3, 1)).then(placement(3, 2))
    assert isinstance(chart, BijectionChart)
    x = np.array([1.0, -2.0, 0.5])
    by_hand = placement(3, 2).transform(placement(3, 1).transform(x))
    np.testing.assert_allclose(chart.decode(x), by_hand)


def test_compositions_are_flat_and_in_order():
    chart = Pad(1, 3).then(placement(3, 1)).then(placement(3, 2))
    assert isinstance(chart.inner, Pad)
    assert isinstance(chart.bijection, Chain)
    by_hand = placement(3, 2).transform(placement(3, 1).transform(jnp.array([2.0, 0, 0])))
    np.testing.assert_allclose(chart.decode(jnp.array([2.0])), by_hand)


def test_padding_appends_zeros_and_drops_them():
    chart = Pad(2, 4)
    np.testing.assert_array_equal(chart.decode(jnp.array([1.0, 2.0])), [1.0, 2.0, 0.0, 0.0])
    np.testing.assert_array_equal(chart.encode(jnp.arange(4.0)), [0.0, 1.0])


def test_a_placement_of_data_scales_and_shifts():
    rotation = np.array([[0.0, -1.0], [1.0, 0.0]])
    layer = Placement(np.array([10.0, 20.0]), np.array([2.0, 3.0]), rotation.T)
    np.testing.assert_allclose(layer.transform(jnp.array([1.0, 0.0])), [10.0, 23.0])
    np.testing.assert_allclose(layer.inverse(jnp.array([10.0, 23.0])), [1.0, 0.0], atol=1e-12)


def test_placing_replaces_the_last_placement_only():
    chart = Pad(1, 2).then(placement(2, 1)).then(scanned_in_the_plane()).then(placement(2, 2))
    new = placement(2, 3)
    placed = place(chart, new)
    assert placement_of(placed) is new
    first = placed.bijection.bijections[0]
    np.testing.assert_array_equal(first.mean.tree, placement(2, 1).mean.tree)


def scanned_in_the_plane():
    return Affine(jnp.ones(2), jnp.full(2, 2.0))


@pytest.mark.parametrize("latent_dim", [-1, 0, 3, 4])
def test_padding_wants_fewer_dimensions_than_features(latent_dim):
    message = rf"Expected 1 <= latent_dim < 3, the number of features; got {latent_dim}\."
    with pytest.raises(ValueError, match=message):
        Pad(latent_dim, 3)


def test_a_bijection_of_any_shape_is_a_chart_of_as_many_coordinates():
    chart = BijectionChart(spline())
    assert (chart.shape, chart.latent_dim) == ((), 1)
    x = chart.decode(jnp.array([0.3]))
    assert x.shape == ()
    np.testing.assert_allclose(chart.encode(x), [0.3], rtol=1e-6)


def test_then_wants_the_chart_s_shape():
    message = r"Expected a bijection of shape \(3,\) to follow this chart; got \(2,\)\."
    with pytest.raises(ValueError, match=message):
        Pad(1, 3).then(placement(2))


def test_parts_of_a_chart_share_one_condition_shape():
    class Conditional(Pad):
        cond_shape: tuple = (5,)

    message = r"share one condition shape; got \(5,\) and \(2,\)\."
    with pytest.raises(ValueError, match=message):
        Composed(Conditional(1, 3), scanned(cond_dim=2))


@pytest.mark.parametrize(
    ("x", "condition", "expected"),
    [
        (3, None, r"Expected a condition of shape \(2,\); got None"),
        (3, 3, r"Expected a condition of shape \(2,\); got \(3,\)"),
        (4, 2, r"Expected .* shape \(3,\); got \(4,\)"),
    ],
)
def test_a_conditional_chart_wants_points_and_conditions_of_its_shapes(x, condition, expected):
    chart = Pad(2, 3).then(spline_stack(key(0), 3, cond_dim=2, **SMALL))
    condition = None if condition is None else jnp.zeros(condition)
    with pytest.raises(ValueError, match=expected):
        chart.encode(jnp.zeros(x), condition)


def test_a_chart_without_a_placement_cannot_be_placed():
    message = "Expected a chart or density with a Placement among its layers"
    with pytest.raises(ValueError, match=message):
        place(Pad(1, 2), placement(2))
    assert placement_of(Pad(1, 2)) is None
