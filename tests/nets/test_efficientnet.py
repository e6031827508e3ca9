"""The feature network against XLA's convolutions and against torch."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.pretrained.fetched import fetched

from mflows.nets import EfficientNetLite0, efficientnet_lite0, image_features, kept_features
from mflows.nets.efficientnet import STRIDES, ChannelConvolution

RNG = np.random.default_rng(0)
CHANNELS = 2


def tiny() -> dict[str, np.ndarray]:
    """Random arrays of a network of two channels, wherever there are any."""
    arrays = {}

    def layer(name, normalisation, *shape):
        arrays[f"{name}.weight"] = RNG.normal(size=shape).astype(np.float32)
        for part in ("weight", "bias", "running_mean"):
            arrays[f"{normalisation}.{part}"] = RNG.normal(size=shape[0]).astype(np.float32)
        arrays[f"{normalisation}.running_var"] = RNG.uniform(1, 2, size=shape[0])

    n = CHANNELS
    layer("_conv_stem", "_bn0", n, 3, 3, 3)
    for i in range(len(STRIDES)):
        layer(f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", n, 1, 3, 3)
        layer(f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", n, n, 1, 1)
    layer("_conv_head", "_bn1", n, n, 1, 1)
    return arrays


@pytest.mark.parametrize(("k", "stride"), [(3, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("shape", [(7, 6), (4, 5)])
def test_a_convolution_of_channels_is_that_of_groups(k, stride, shape):
    x, kernel = RNG.normal(size=(*shape, 3)), RNG.normal(size=(k, k, 1, 3))
    expected = jax.lax.conv_general_dilated(
        jnp.asarray(x)[None], jnp.asarray(kernel), (stride, stride), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=3,
    )[0]  # fmt: skip
    found = ChannelConvolution(jnp.asarray(kernel), jnp.arange(3.0), stride)(jnp.asarray(x))
    np.testing.assert_allclose(found, expected + np.arange(3.0), atol=1e-12)


def test_normalisation_is_folded():
    arrays = tiny()
    network = EfficientNetLite0.of(arrays)
    h = RNG.normal(size=(1, 1, CHANNELS)).astype(np.float32)
    mean, variance = (arrays[f"_bn1.running_{part}"] for part in ("mean", "var"))
    dense = arrays["_conv_head.weight"][:, :, 0, 0] @ h[0, 0]
    expected = (dense - mean) / np.sqrt(variance + 1e-3) * arrays["_bn1.weight"]
    found = network.head(jnp.asarray(h))[0, 0]
    np.testing.assert_allclose(found, expected + arrays["_bn1.bias"], rtol=1e-5)


def test_features_come_in_batches():
    network = EfficientNetLite0.of(tiny())
    images = RNG.uniform(size=(5, 8, 8, 1))
    found = image_features(images, network, batch=2)
    assert (found.shape, found.dtype) == ((5, CHANNELS), np.float32)
    whole = image_features(np.repeat(images, 3, axis=3), network, batch=2)
    np.testing.assert_array_equal(found, whole)
    alone = image_features(images[4:], network, batch=2)
    np.testing.assert_array_equal(found[4:], alone)
    assert image_features(images[:0], network).shape == (0, CHANNELS)


def test_a_size_is_that_of_the_pictures_the_network_sees():
    network = EfficientNetLite0.of(tiny())
    images = RNG.uniform(size=(2, 8, 8, 3)).astype(np.float32)
    found = image_features(images, network, size=8)
    np.testing.assert_allclose(found, jax.vmap(network)(jnp.asarray(images)), rtol=1e-6)


def test_features_are_computed_once(tmp_path, monkeypatch):
    """A call that ends early leaves whole blocks; damaged ones are computed again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("mflows.nets.efficientnet.BLOCK", 2)
    network, built = EfficientNetLite0.of(tiny()), []
    monkeypatch.setattr(
        "mflows.nets.efficientnet.efficientnet_lite0", lambda: built.append(1) or network
    )
    images, counts = RNG.uniform(size=(5, 8, 8, 1)).astype(np.float32), []

    def interrupt(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept_features(images, size=8, done=interrupt)
    found = kept_features(images, size=8, done=counts.append)
    assert (counts, len(built)) == ([2, 2, 1], 2)
    np.testing.assert_array_equal(found, image_features(images, network, size=8))
    kept = sorted((tmp_path / "mflows" / "features").iterdir())
    assert len(kept) == 3
    np.testing.assert_array_equal(kept_features(images, size=8), found)
    assert len(built) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:50])
    np.testing.assert_array_equal(kept_features(images, size=8), found)
    assert len(built) == 3
    assert not np.array_equal(kept_features(images[:2], size=9), found[:2])
    assert kept_features(images[:0]).shape == (0, 1280)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"\(N, H, W, C\) with 1 or 3 colours; got \(4, 8, 8\)"):
        image_features(np.zeros((4, 8, 8)))
    with pytest.raises(ValueError, match=r"0 to 255\. mflows.data.from_levels makes"):
        image_features(np.linspace(0, 255, 12).reshape(1, 2, 2, 3))


def test_is_the_network_of_torch():
    """Expected numbers: the published network in torch, float64, of the same image."""
    row, column, colour = np.indices((64, 64, 3))
    image = (1 + np.sin(row * column / (40 + 10 * colour))) / 2
    network = fetched(efficientnet_lite0)
    features = np.asarray(eqx.filter_jit(network)(jnp.asarray(image, jnp.float32)))
    np.testing.assert_allclose(features.mean(), 1.1818574801765127, atol=1e-5)
    np.testing.assert_allclose(features.std(), 1.8974124707359985, atol=1e-5)
    np.testing.assert_allclose(features[[0, 800, 1120]], [6, 3.8398092, 0.7423652], atol=2e-4)
