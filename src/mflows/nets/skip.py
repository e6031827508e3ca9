r"""A network around the identity between spaces of different dimension.

    y = C x + N(x, theta),    C keeps the first coordinates or appends zeros

With the residual network N near zero at first, a free decoder starts as the plane of the first n
axes and a free encoder as the projection to it, where training of a manifold starts everywhere in
this library.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mflows.nets.residual import ResidualMLP


class SkipMLP(eqx.Module):
    """Crop or zero-pad plus a residual network, from ``in_size`` to ``out_size`` features.

    Args:
        key: Random key for the initial weights.
        in_size: Number of input features.
        out_size: Number of output features.
        cond_size: Number of components of the condition theta, ``None`` for a network without.
        width: Width of every hidden layer.
        blocks: Number of residual blocks of two layers each.
        scale: Factor on the initial weights of the last layer: how far from C it starts.
    """

    network: ResidualMLP
    in_size: int
    out_size: int
    cond_size: int | None

    def __init__(
        self,
        key: PRNGKeyArray,
        in_size: int,
        out_size: int,
        *,
        cond_size: int | None = None,
        width: int = 64,
        blocks: int = 2,
        scale: float = 0.01,
    ):
        inputs = in_size + (cond_size or 0)
        self.network = ResidualMLP(key, inputs, out_size, width=width, blocks=blocks, scale=scale)
        self.in_size = in_size
        self.out_size = out_size
        self.cond_size = cond_size

    def __call__(
        self, x: Float[Array, " in"], condition: Float[Array, " c"] | None = None
    ) -> Float[Array, " out"]:
        if self.cond_size is not None and condition is None:
            raise ValueError(f"Expected a condition of shape ({self.cond_size},); got none.")
        given = x if self.cond_size is None else jnp.hstack((x, jnp.asarray(condition)))
        kept = jnp.pad(x[: self.out_size], (0, max(self.out_size - self.in_size, 0)))
        return kept + self.network(given)
