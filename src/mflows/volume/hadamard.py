r"""An upper bound of the log-volume from lengths of tangents (Hadamard's inequality).

With J e_k the image of the k-th axis of latent space, a parallelepiped has at most the volume of
the box with the same edges,

    1/2 log det(J^T J) <= sum_k log |J e_k|,

with equality where the tangents are orthogonal. n log |J e_k| for a random k is an unbiased
estimate of the bound.

Cost: one tangent per probe. Error: never below the log-volume in the mean; the gap is that from
orthogonality, which ``mflows.recipes.canonical`` trains away.
"""

import jax
import jax.numpy as jnp
import jax.random as jr

from mflows.volume.volume import Volume, length, needed


class Hadamard(Volume):
    """Upper bound, estimated from random axes.

    Args:
        probes: Number of different axes; all n of them, or more, give the bound itself, and no key
            is needed.
    """

    probes: int = 1

    def __check_init__(self):
        if self.probes < 1:
            raise ValueError(f"Expected probes >= 1; got {self.probes}.")

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        axes = jnp.eye(chart.latent_dim, dtype=u.dtype)
        if self.probes < chart.latent_dim:
            axes = jr.choice(needed(key, self), axes, (self.probes,), replace=False)
        x, tangents = chart.pushforward(u, axes, condition)
        return x, chart.latent_dim * jnp.log(jax.vmap(length)(tangents)).mean()
