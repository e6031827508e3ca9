r"""The encoder of a variational autoencoder:  q(u | x, theta) = N(m(x, theta), s(x, theta)^2)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from mflows.nets.skip import SkipMLP

TINY = -40.0
"""Below it softplus(x) is exp(x) to double precision."""


class GaussianEncoder(eqx.Module):
    """Mean and scale of latent coordinates, given a point. Called, it returns the mean.

    Args:
        key: Random key for the initial weights.
        in_size: Number of features D.
        out_size: Number of latent coordinates n.
        settings: As for `SkipMLP`.
    """

    mean: SkipMLP
    spread: SkipMLP
    in_size: int
    out_size: int
    cond_size: int | None

    def __init__(self, key: PRNGKeyArray, in_size: int, out_size: int, **settings):
        self.mean, self.spread = (
            SkipMLP(key, in_size, out_size, **settings) for key in jr.split(key)
        )
        self.in_size = in_size
        self.out_size = out_size
        self.cond_size = self.mean.cond_size

    def __call__(
        self, x: Float[Array, " in"], condition: Float[Array, " c"] | None = None
    ) -> Float[Array, " out"]:
        return self.mean(x, condition)

    def scale_and_log(
        self, x: Float[Array, " in"], condition: Float[Array, " c"] | None = None
    ) -> tuple[Float[Array, " out"], Float[Array, " out"]]:
        """Standard deviations s of the latent coordinates, and log s where s is 0 in rounding."""
        spread = self.spread(x, condition)
        scale = jax.nn.softplus(spread)
        large = spread > TINY  # below it, softplus is the exponential function
        return scale, jnp.where(large, jnp.log(jnp.where(large, scale, 1.0)), spread)
