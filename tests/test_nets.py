"""Networks start as Equinox would start them; those of images see neighbourhoods."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import kstest

from mflows.nets import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    ConvolutionalResidual,
    Linear,
    PatchDecoder,
    PatchEncoder,
    ResidualMLP,
    from_patches,
    patch_size,
)
from mflows.nets.convolutional import Convolution, by_patches, convolved
from mflows.nets.linear import drawn
from mflows.nets.patches import AttentionBlock, patches


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
    encoder = ConvolutionalEncoder(jr.key(0), (24, 16, 3), 5, width=4)
    decoder = ConvolutionalDecoder(jr.key(1), 5, (24, 16, 3), width=4)
    assert [stage.place.shape for stage in encoder.stages] == [(12, 8, 4), (6, 4, 8)]
    assert [stage.place.shape for stage in decoder.stages] == [(6, 4, 8), (12, 8, 4)]


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [(ConvolutionalEncoder, ConvolutionalDecoder), (PatchEncoder, PatchDecoder)],
)
def test_encoder_and_decoder_of_images_take_and_give_numbers(encoder, decoder):
    shape, theta = (24, 16, 3), jnp.array([0.5])
    encoder = encoder(jr.key(0), shape, 5, cond_size=1, width=4)
    decoder = decoder(jr.key(1), 5, shape, cond_size=1, width=4)
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


@pytest.mark.parametrize(
    ("sides", "size"),
    [((8, 8), 2), ((28, 28), 4), ((32, 32), 4), ((64, 64), 8), ((30, 30), 2), ((2, 4), 2)],
)
def test_patches_divide_an_image_and_are_at_most_64_if_they_can_be(sides, size):
    assert patch_size((*sides, 3)) == size


@pytest.mark.parametrize("sides", [(2, 2), (7, 8), (1, 4)])
def test_an_image_without_two_patches_is_refused(sides):
    with pytest.raises(ValueError, match=f"at least two patches.*got {sides[0]} x {sides[1]}"):
        patch_size((*sides, 3))


def test_patches_are_the_squares_of_an_image():
    x = jr.normal(jr.key(0), (8, 12, 3))
    found = patches(x, 4)
    np.testing.assert_array_equal(found[1, 2], x[4:8, 8:12].ravel())
    np.testing.assert_array_equal(from_patches(found, 4), x)


def test_attention_is_a_mean_of_values_for_every_head():
    block, h = drawn(jr.key(0), AttentionBlock(8)), jr.normal(jr.key(1), (5, 8))
    by_head = np.moveaxis(np.asarray(block.joint(h)).reshape(5, block.heads, 3, 2), 1, 0)
    means = [
        softmax(queries @ keys.T / np.sqrt(2), axis=1) @ values
        for queries, keys, values in (np.moveaxis(head, 1, 0) for head in by_head)
    ]
    expected = np.hstack(means) @ block.mixed.weight.T + block.mixed.bias
    assert block.heads == 4
    np.testing.assert_allclose(block.attention(h), expected, atol=1e-12)
