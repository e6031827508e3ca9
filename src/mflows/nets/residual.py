r"""Residual multi-layer perceptron, the conditioner of every coupling layer.

    h_0 = W_in x + b_in,    h_{i+1} = h_i + V_i a(W_i a(h_i)),    y = W_out a(h_m) + b_out

Pre-activation residual blocks (He et al. 2016, arXiv 1603.05027), as in neural spline flows
(Durkan et al. 2019, arXiv 1906.04032). ``scale`` multiplies the last layer: with a small value
the network starts near zero, so a coupling layer conditioned by it starts at the identity.
"""

from collections.abc import Callable
from itertools import pairwise

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from mflows.nets.linear import Linear, drawn, limits

DEEPEST = 1000
"""Blocks of a network, and layers of a stack, at most: more take hours to compile or to run."""


def check_depth(what: str, number: int, *, least: int = 1) -> None:
    """Raise ``ValueError`` unless there is a sensible number of layers or blocks."""
    if not least <= number <= DEEPEST:
        raise ValueError(f"Expected from {least} to {DEEPEST} {what}; got {number}.")


class ResidualMLP(eqx.Module):
    """A residual network from ``in_size`` to ``out_size`` features.

    Args:
        key: Random key for the initial weights.
        in_size: Number of input features.
        out_size: Number of output features.
        width: Width of every hidden layer.
        blocks: Number of residual blocks of two layers each.
        activation: Elementwise nonlinearity.
        scale: Factor on the initial weights and biases of the last layer.
    """

    first: Linear
    blocks: tuple[tuple[Linear, Linear], ...]
    last: Linear
    activation: Callable[[Array], Array]

    def __init__(
        self,
        key: PRNGKeyArray,
        in_size: int,
        out_size: int,
        *,
        width: int = 64,
        blocks: int = 1,
        activation: Callable[[Array], Array] = jax.nn.silu,
        scale: float = 1.0,
    ):
        if width < 1:
            raise ValueError(f"Expected width >= 1; got {width}.")
        check_depth("blocks", blocks, least=0)
        sizes = (in_size, *[width] * (2 * blocks + 1), out_size)
        self.first, *inner, last = drawn(key, [limits(*pair) for pair in pairwise(sizes)])
        self.blocks = tuple(zip(inner[::2], inner[1::2], strict=True))
        self.last = jax.tree.map(lambda leaf: leaf * scale, last)
        self.activation = activation

    def hidden(self, x: Float[Array, " in"]) -> Float[Array, " width"]:
        """Everything before the last, affine, layer."""
        h = self.first(x)
        for a, b in self.blocks:
            h = h + b(self.activation(a(self.activation(h))))
        return self.activation(h)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        return self.last(self.hidden(x))
