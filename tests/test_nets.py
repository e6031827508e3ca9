"""Networks start as Equinox would start them; those of images see neighbourhoods."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import kstest

from mflows.nets import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    ConvolutionalResidual,
    Linear,
    ResidualMLP,
)
from mflows.nets.convolutional import Convolution, by_patches, convolved
from mflows.nets.linear import drawn


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


# Images -----------------------------------------------------------------------------------------


def test_encoder_and_decoder_of_images_halve_and_double():
    shape, theta = (24, 16, 3), jnp.array([0.5])
    encoder = ConvolutionalEncoder(jr.key(0), shape, 5, cond_size=1, width=4)
    decoder = ConvolutionalDecoder(jr.key(1), 5, shape, cond_size=1, width=4)
    assert [stage.place.shape for stage in encoder.stages] == [(12, 8, 4), (6, 4, 8)]
    assert [stage.place.shape for stage in decoder.stages] == [(6, 4, 8), (12, 8, 4)]
    x = jr.normal(jr.key(2), (24 * 16 * 3,))
    assert encoder(x, theta).shape == (5,)
    assert decoder(encoder(x, theta), theta).shape == x.shape
    np.testing.assert_array_equal(encoder(x, theta), encoder(x, -theta))  # at first
    with pytest.raises(ValueError, match=r"Expected a condition of shape \(1,\); got none"):
        encoder(x)


def test_a_convolution_is_the_sum_over_its_neighbourhood():
    net = ConvolutionalResidual(jr.key(0), (5, 5, 2), 3, width=4, blocks=0)
    x = jr.normal(jr.key(1), (5, 5, 2))
    weight, bias = net.stage.first.weight, net.stage.first.bias
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    hidden = sum(padded[i : i + 5, j : j + 5] @ weight[i, j] for i in range(3) for j in range(3))
    np.testing.assert_allclose(net.stage(x, None), hidden + bias, atol=1e-12)
    assert np.abs(weight).max() <= (2 * 9) ** -0.5


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1)])
@pytest.mark.parametrize("shape", [(6, 8, 2), (7, 5, 2)])
def test_a_convolution_by_patches_is_the_usual_one(size, stride, shape):
    layer = drawn(jr.key(0), Convolution(2, 3, size, stride))
    x = jr.normal(jr.key(1), shape)
    weight = layer.weight, stride
    np.testing.assert_allclose(by_patches(x, *weight), convolved(x, *weight), atol=1e-12)
