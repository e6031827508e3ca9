r"""A network whose first inputs are angles, which it sees as points of the unit circle.

    y = net(cos a, sin a, rest)

So it is continuous where the angles jump from pi to -pi.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mflows.nets.linear import Linear
from mflows.nets.residual import ResidualMLP


class AngularMLP(eqx.Module):
    """A residual network of angles and other features.

    Args:
        key: Random key for the initial weights.
        angles: Number of angles, the first inputs.
        others: Number of the other inputs.
        out_size: Number of output features.
        settings: As for `ResidualMLP`.
    """

    net: ResidualMLP
    angles: int = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, angles: int, others: int, out_size: int, **settings):
        self.net = ResidualMLP(key, 2 * angles + others, out_size, **settings)
        self.angles = angles

    @property
    def last(self) -> Linear:
        """The last, affine, layer."""
        return self.net.last

    def hidden(self, x: Float[Array, " in"]) -> Float[Array, " width"]:
        """Everything before the last layer."""
        angles, others = x[: self.angles], x[self.angles :]
        return self.net.hidden(jnp.concatenate([jnp.cos(angles), jnp.sin(angles), others]))

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.last(self.hidden(x))
