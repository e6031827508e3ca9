"""The conditioner network starts as Equinox would start it."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import kstest

from mflows.nets import Linear, ResidualMLP


def layers(net: ResidualMLP) -> list[Linear]:
    return [net.first, *(layer for block in net.blocks for layer in block), net.last]


def test_weights_and_biases_follow_the_law_of_equinox():
    net = ResidualMLP(jr.key(0), 5, 40, width=50, blocks=2, scale=0.01)
    ours = layers(net)
    assert [(layer.in_features, layer.out_features) for layer in ours] == [
        *[(5, 50), (50, 50), (50, 50), (50, 50), (50, 50)],
        (50, 40),
    ]
    for layer, scale in zip(ours, [1, 1, 1, 1, 1, 0.01], strict=True):
        theirs = eqx.nn.Linear(layer.in_features, layer.out_features, key=jr.key(1))
        assert (layer.weight.shape, layer.bias.shape) == (theirs.weight.shape, theirs.bias.shape)
        bound = layer.in_features**-0.5
        assert jnp.abs(theirs.weight).max() <= bound  # what we believe of Equinox
        for weights in (layer.weight, layer.bias):
            law = kstest(np.ravel(weights) / (scale * bound), "uniform", (-1, 2))
            assert law.pvalue > 1e-3


def test_layers_differ_and_keys_matter():
    net, other = (ResidualMLP(jr.key(seed), 3, 3, width=3) for seed in (0, 1))
    weights = [layer.weight for layer in (*layers(net), *layers(other))]
    assert len({np.asarray(each).tobytes() for each in weights}) == len(weights)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_it_is_affine_after_its_hidden_layers(blocks):
    net = ResidualMLP(jr.key(0), 2, 4, width=8, blocks=blocks)
    x = jnp.array([0.3, -1.2])
    assert len(net.blocks) == blocks
    np.testing.assert_allclose(net(x), net.last.weight @ net.hidden(x) + net.last.bias)
    assert net(x).shape == (4,)
