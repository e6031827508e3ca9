r"""The product of manifolds: every part has coordinates and features of its own.

    g(u_1, ..., u_k) = (g_1(u_1), ..., g_k(u_k))

J is block-diagonal, so that the log-volumes of the parts add.
"""

from functools import reduce

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mflows.charts.chart import Chart, common_condition


class Product(Chart):
    """A product of charts of vectors, for instance ``Product(Sphere(2), Circle())``.

    Args:
        parts: The charts; coordinates and features are concatenated in their order.

    Raises:
        ValueError: If there are none, or one is not of vectors, or conditions differ in shape.
    """

    parts: tuple[Chart, ...]
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: tuple[int, ...] | None

    def __init__(self, *parts: Chart):
        if not parts or any(len(part.shape) != 1 for part in parts):
            shapes = [part.shape for part in parts]
            raise ValueError(f"Expected one or more charts of shape (D,); got shapes {shapes}.")
        self.parts = parts
        self.shape = (sum(part.shape[0] for part in parts),)
        self.latent_dim = sum(part.latent_dim for part in parts)
        self.cond_shape = reduce(common_condition, (part.cond_shape for part in parts))

    def decode(self, u, condition=None):
        pieces = zip(self.parts, self.split(u), strict=True)
        return jnp.concatenate([part.decode(piece, condition) for part, piece in pieces])

    def encode(self, x, condition=None):
        pieces = jnp.split(x, np.cumsum([part.shape[0] for part in self.parts])[:-1])
        encoded = zip(self.parts, pieces, strict=True)
        return jnp.concatenate([part.encode(piece, condition) for part, piece in encoded])

    def split(self, u: Array) -> list[Array]:
        """The coordinates of each part."""
        return jnp.split(u, np.cumsum([part.latent_dim for part in self.parts])[:-1])
