r"""The encoder of a variational autoencoder:  q(u | x, theta) = N(m(x, theta), s(x, theta)^2)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mflows.nets.convolutional import ConvolutionalEncoder
from mflows.nets.patches import PatchEncoder
from mflows.nets.skip import SkipMLP

FreeEncoder = SkipMLP | ConvolutionalEncoder | PatchEncoder
"""Networks from D features to n numbers, of which an encoder may be made."""

TINY = -40.0
"""Below it softplus(x) is exp(x) to double precision."""


class GaussianEncoder(eqx.Module):
    """Mean and scale of latent coordinates, given a point. Called, it returns the mean.

    Args:
        mean: Network from D features to the n means.
        spread: Network from D features to n numbers, whose softplus is the scale.
    """

    mean: FreeEncoder
    spread: FreeEncoder
    in_size: int
    out_size: int
    cond_size: int | None

    def __init__(self, mean: FreeEncoder, spread: FreeEncoder):
        self.mean, self.spread = mean, spread
        self.in_size, self.out_size = mean.in_size, mean.out_size
        self.cond_size = mean.cond_size

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
