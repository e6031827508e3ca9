"""Placements: which plane the reflections put first, in both precisions, and what they leave."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import ortho_group
from tests.registry import placement, turn_of

import mflows as mf
from mflows.charts import Placement, place, placement_of
from mflows.layers.reflections import reflections_to

E1, E2, E3, E4 = np.eye(4)


def random_plane(n, dim, seed=0):
    return ortho_group.rvs(dim, random_state=seed)[:n] if dim > 1 else np.array([[-1.0]])


PLANES = {
    "line in a plane": random_plane(1, 2),
    "surface in space": random_plane(2, 3),
    "many axes": random_plane(14, 40),
    "few axes of many": random_plane(3, 200),
    "whole space": random_plane(5, 5),
    "whole space, the other sign": random_plane(5, 5)[::-1],
    "minus one": -np.eye(1),
    "no axes": np.zeros((0, 3)),
    "first axes": np.eye(2, 4),
    "whole space, untouched": np.eye(4),
    "last axes": np.stack((E3, E4)),
    "axes backwards": np.stack((E4, E3, E2, E1)),
    "opposite axes": -np.eye(2, 4),
    "everything opposite": -np.eye(4),
    "axes of both signs": np.stack((E1, -E2, -E4)),
    "axes among others": np.stack((E2, np.array([0.6, 0, 0, -0.8]), -E3)),
    "nearly an axis": np.stack((np.array([np.cos(1e-9), np.sin(1e-9), 0, 0]), -E4)),
}


@pytest.fixture(params=PLANES)
def plane(request):
    return PLANES[request.param]


def shapes(part):
    """Shapes of all arrays."""
    return [leaf.shape for leaf in jax.tree.leaves(eqx.filter(part, eqx.is_array))]


def one_by_one(vectors):
    """The product of the reflections, each a matrix."""
    turn = np.eye(len(vectors))
    for v in vectors.T:
        turn = turn @ (np.eye(len(v)) - 2 * np.outer(v, v))
    return turn


def test_the_first_columns_are_the_plane_with_its_signs_and_the_map_is_orthogonal(plane):
    n, dim = plane.shape
    turn = np.asarray(jax.vmap(reflections_to(plane).turn)(jnp.eye(dim))).T
    np.testing.assert_allclose(turn[:, :n], plane.T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(turn.T @ turn, np.eye(dim), rtol=0, atol=1e-12)


def test_the_compact_form_is_the_product_of_reflections(plane):
    found = reflections_to(plane)
    vectors, turn = np.asarray(found.vectors), one_by_one(np.asarray(found.vectors))
    np.testing.assert_allclose(jax.vmap(found.turn)(jnp.eye(len(turn))).T, turn, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(found.turn_back)(jnp.eye(len(turn))), turn, atol=1e-12)
    lengths = np.linalg.norm(vectors, axis=0)
    assert ((lengths == 0) | (abs(lengths - 1) < 1e-12)).all()


def test_in_single_precision_the_map_is_orthogonal_to_rounding(plane):
    n, dim = plane.shape
    with jax.enable_x64(False):
        layer = Placement(np.zeros(dim), np.ones(dim), plane)
        turn = np.asarray(jax.vmap(layer.transform)(jnp.eye(dim))).T
        back = np.asarray(jax.vmap(layer.inverse)(jnp.asarray(turn.T)))
    assert turn.dtype == np.float32
    np.testing.assert_allclose(turn[:, :n], plane.T, rtol=0, atol=1e-6)
    np.testing.assert_allclose(turn.T @ turn, np.eye(dim), rtol=0, atol=1e-6)
    np.testing.assert_allclose(back, np.eye(dim), rtol=0, atol=1e-6)


@pytest.mark.parametrize("plane_dim", [0, 2, 4])
def test_the_identity_changes_nothing_and_has_the_arrays_of_what_replaces_it(plane_dim):
    layer = Placement.identity(4, plane_dim)
    x = jnp.array([1.5, -2.0, 0.25, 3.0])
    np.testing.assert_array_equal(layer.transform(x), x)
    np.testing.assert_array_equal(layer.inverse(x), x)
    assert not np.asarray(layer.reflections.tree.vectors).any()
    assert shapes(layer) == shapes(placement(4, plane_dim=plane_dim))


def test_a_placement_is_its_affine_map():
    layer = placement(5, plane_dim=2)
    x = np.random.default_rng(1).normal(size=5)
    expected = layer.mean.tree + layer.scale.tree * (turn_of(layer) @ x)
    np.testing.assert_allclose(layer.transform(x), expected, rtol=1e-12)
    _, log_det = layer.inverse_and_log_det(expected)
    np.testing.assert_allclose(log_det, -np.log(layer.scale.tree).sum(), rtol=1e-12)


@pytest.mark.parametrize("plane", [np.ones((1, 3)), np.eye(4, 3), np.array([[1.0, 0], [1, 0]])])
def test_what_is_no_orthonormal_frame_is_refused(plane):
    with pytest.raises(ValueError, match=r"Expected orthonormal rows.* got \d rows that are not"):
        Placement(np.zeros(plane.shape[1]), np.ones(plane.shape[1]), plane)


def test_a_plane_is_replaced_by_one_of_the_same_dimension():
    chart = mf.charts.BijectionChart(Placement.identity(3, 2))
    assert placement_of(place(chart, placement(3, plane_dim=2))).plane_dim == 2
    with pytest.raises(
        ValueError, match="on a plane of dimension 2, as the one it replaces; got 1"
    ):
        place(chart, placement(3, plane_dim=1))


def test_a_flow_of_many_dimensions_has_no_square_matrix():
    dim = 300
    settings = {"chart_layers": 2, "latent_layers": 1, "width": 4, "bins": 3}
    flow = mf.models.m_flow(jr.key(0), (dim,), 2, **settings)
    assert shapes(placement_of(flow.chart)) == [(dim,), (dim,), (dim,), (dim, 2), (2, 2)]
