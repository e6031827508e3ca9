r"""The flat torus, a product of n unit circles in R^2n.

    x = (cos u_1, sin u_1, ..., cos u_n, sin u_n)

The columns of J are orthonormal, so its log-volume is 0. The projection divides each pair of
coordinates by its length.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from mflows.charts.chart import Chart


class Torus(Chart):
    """The torus of n angles in R^2n; ``encode`` gives angles in [-pi, pi).

    Args:
        n: Number of angles, at least 1.
    """

    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: None = None

    def __init__(self, n: int):
        if n < 1:
            raise ValueError(f"Expected a torus of n >= 1 angles; got {n}.")
        self.shape = (2 * n,)
        self.latent_dim = n

    def decode(self, u, condition=None):
        return jnp.stack([jnp.cos(u), jnp.sin(u)], axis=-1).ravel()

    def encode(self, x, condition=None):
        cosine, sine = x.reshape(-1, 2).T
        return angle(cosine, sine)

    def log_volume(self, u: Float[Array, " n"], condition: Array | None = None) -> Scalar:
        """1/2 log det(J^T J) = 0."""
        return jnp.zeros((), u.dtype)


class Circle(Torus):
    """The unit circle in the plane, the torus of one angle."""

    def __init__(self):
        super().__init__(1)


def angle(x: Array, y: Array) -> Array:
    """Angles of points (x, y) of the plane, in [-pi, pi); 0 with derivative 0 at the origin."""
    origin = x**2 + y**2 == 0
    found = jnp.arctan2(y, jnp.where(origin, 1.0, x))
    return jnp.where(found >= jnp.pi, -found, found)
