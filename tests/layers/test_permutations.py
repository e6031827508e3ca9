"""The Jacobian of a permutation is not its transpose: exact likelihoods with turning layers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.bijections import Permute
from tests.registry import CHARTS, scanned, turned

from mflows.charts import Pad, pushforward
from mflows.layers.circular import circular_spline_stack
from mflows.layers.splines import permute, spline_stack
from mflows.volume import Complement, Exact


@pytest.mark.parametrize("dim", [3, 5])
def test_a_permutation_carries_tangents_as_it_carries_points(dim):
    layer = turned(dim)
    _, frame = pushforward(layer, jnp.zeros(dim), jnp.eye(dim), None)
    np.testing.assert_array_equal(frame.T, jax.jacfwd(layer.transform)(jnp.zeros(dim)))
    assert not np.array_equal(frame, frame.T)


def _orders(tree):
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: hasattr(leaf, "permutation"))
    return [np.asarray(leaf.permutation[0]) for leaf in leaves if hasattr(leaf, "permutation")]


@pytest.mark.parametrize("name", ["conditional spline surface", "LU splines in five dimensions"])
def test_spline_charts_with_turning_layers_have_exact_volumes(name, values_of):
    (orders,) = _orders(CHARTS[name]())
    involutions = [(order[order] == np.arange(order.size)).all() for order in orders]
    assert not all(involutions)
    values = values_of(name)
    gram = values.jacobian.swapaxes(1, 2) @ values.jacobian
    expected = 0.5 * np.linalg.slogdet(gram)[1]
    assert {"exact", "complement"} <= set(values.volumes)
    for log_volume in values.volumes.values():
        np.testing.assert_allclose(log_volume, expected, rtol=1e-9)


def test_permutations_between_layers_that_are_not_undone_have_exact_volumes():
    chart = Pad(2, 3).then(scanned())
    u = jnp.array([0.4, -1.2])
    jacobian = np.asarray(jax.jacfwd(chart.decode)(u))
    expected = 0.5 * np.linalg.slogdet(jacobian.T @ jacobian)[1]
    for volume in (Exact(), Complement()):
        np.testing.assert_allclose(volume.log_volume(chart, u), expected, rtol=1e-9)


def test_a_permutation_is_that_of_flowjax():
    order = jnp.array([2, 0, 3, 1])
    assert eqx.tree_equal(permute(order), Permute(order))


@pytest.mark.parametrize("stack", [spline_stack, circular_spline_stack])
def test_building_a_stack_does_not_call_the_host(stack):
    jaxpr, *_ = eqx.filter_make_jaxpr(stack)(jr.key(0), 3)
    assert "callback" not in str(jaxpr)  # JAX keeps no such program on disk
