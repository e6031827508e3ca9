r"""The unit sphere S^n in R^(n+1), in spherical coordinates.

    x = (cos u_1,  sin u_1 cos u_2,  ...,  sin u_1 ... sin u_n)
    1/2 log det(J^T J) = sum_i (n - i) log sin u_i

with u_1 .. u_(n-1) in [0, pi] and u_n in [-pi, pi). The projection divides by the length. Where a
sine is 0, at the poles of the coordinates, the volume vanishes; ``log_volume`` then stands at the
logarithm of the least positive number, so that it cancels in densities that hold its opposite
(``mflows.latents.SphereFlow``).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from mflows.charts.chart import Chart
from mflows.charts.torus import angle
from mflows.layers.sphere_coupling import length


class Sphere(Chart):
    """The unit sphere of dimension n in R^(n+1).

    Args:
        n: Dimension of the sphere, at least 1.
    """

    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: None = None

    def __init__(self, n: int):
        if n < 1:
            raise ValueError(f"Expected a sphere of dimension n >= 1; got {n}.")
        self.shape = (n + 1,)
        self.latent_dim = n

    def decode(self, u, condition=None):
        one = jnp.ones_like(u[:1])
        sines = jnp.concatenate([one, jnp.cumprod(jnp.sin(u))])
        return sines * jnp.concatenate([jnp.cos(u), one])

    def encode(self, x, condition=None):
        polar = [angle(x[i], length(x[i + 1 :])) for i in range(self.latent_dim - 1)]
        # At an angle of pi, which `angle` takes for -pi, both decode to the same point.
        return jnp.stack([*map(jnp.abs, polar), angle(x[-2], x[-1])])

    def log_volume(self, u: Float[Array, " n"], condition: Array | None = None) -> Scalar:
        """1/2 log det(J^T J), finite everywhere."""
        powers = jnp.arange(self.latent_dim - 1, 0, -1, dtype=u.dtype)
        sines = jnp.maximum(jnp.abs(jnp.sin(u[:-1])), jnp.finfo(u.dtype).tiny)
        return jnp.sum(powers * jnp.log(sines))
