r"""Where a chart sits in data space: scaling and the choice of the starting plane.

    x = mean + scale * (Q z),   Q orthogonal

``z`` has zero mean and comparable scales, and the plane of its first n axes is the one from which
learning starts. Both are chosen from data before training (see ``mflows.training.start``) and do
not train. Being a layer of the chart, the scaling enters the Gram determinant by the chain rule
and all public numbers stay in the data's own units.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection
from jaxtyping import ArrayLike, Float, PyTree
from paramax import NonTrainable


class Placement(AbstractBijection):
    """An affine map of data space that does not train; the identity until it is placed.

    Args:
        mean: Centre of the data, shape (D,).
        scale: Positive scale per feature, shape (D,).
        rotation: Orthogonal matrix Q, shape (D, D), whose first n columns span the plane.
    """

    mean: Any  # a NonTrainable array; the array itself in methods, which act on unwrapped layers
    scale: Any
    rotation: Any
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(
        self,
        mean: Float[ArrayLike, " D"],
        scale: Float[ArrayLike, " D"],
        rotation: Float[ArrayLike, "D D"],
    ):
        self.mean = NonTrainable(jnp.asarray(mean, dtype=float))
        self.scale = NonTrainable(jnp.asarray(scale, dtype=float))
        self.rotation = NonTrainable(jnp.asarray(rotation, dtype=float))
        self.shape = self.mean.tree.shape

    @classmethod
    def identity(cls, dim: int) -> "Placement":
        """The placement that changes nothing."""
        return cls(jnp.zeros(dim), jnp.ones(dim), jnp.eye(dim))

    def transform_and_log_det(self, x, condition=None):
        return self.mean + self.scale * _matmul(self.rotation, x), jnp.log(self.scale).sum()

    def inverse_and_log_det(self, y, condition=None):
        z = (y - self.mean) / self.scale
        return _matmul(self.rotation.T, z), -jnp.log(self.scale).sum()


_matmul = partial(jnp.matmul, precision="highest")  # accelerators round inputs by default


def placement_of(part: PyTree) -> Placement | None:
    """The last placement in a chart or density, ``None`` if it has none."""
    leaves = jax.tree.leaves(part, is_leaf=lambda leaf: isinstance(leaf, Placement))
    placements = [leaf for leaf in leaves if isinstance(leaf, Placement)]
    return placements[-1] if placements else None


def place(part: PyTree, placement: Placement) -> PyTree:
    """``part`` with its last placement replaced."""
    old = placement_of(part)
    if old is None:
        raise ValueError("Expected a chart or density with a Placement among its layers.")
    return jax.tree.map(
        lambda leaf: placement if leaf is old else leaf,
        part,
        is_leaf=lambda leaf: isinstance(leaf, Placement),
    )
