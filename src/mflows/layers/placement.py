r"""Where a chart sits in data space: scaling and the choice of the starting plane.

    x = mean + scale * (Q z),   Q orthogonal

``z`` has zero mean and comparable scales, and the plane of its first n axes is the one from which
learning starts. Both are chosen from data before training (see ``mflows.training.starts``) and do
not train. Being a layer of the chart, the scaling enters the Gram determinant by the chain rule
and all public numbers stay in the data's own units. Q is kept as n reflections
(``mflows.layers.reflections``).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection
from jaxtyping import ArrayLike, Float, PyTree
from paramax import NonTrainable

from mflows.layers.reflections import reflections_to


class Placement(AbstractBijection):
    """An affine map of data space that does not train; the identity until it is placed.

    Args:
        mean: Centre of the data, of the shape of a data point of D features.
        scale: Positive scale per feature, of the same shape.
        plane: Orthonormal vectors that span the plane, shape (n, D): the first n columns of Q,
            which turns the features in their order. ``None``, or none of them, for a placement
            that only shifts and scales.
    """

    mean: Any  # a NonTrainable array; the array itself in methods, which act on unwrapped layers
    scale: Any
    reflections: Any
    shape: tuple[int, ...]
    plane_dim: int
    cond_shape: None = None

    def __init__(
        self,
        mean: Float[ArrayLike, "..."],
        scale: Float[ArrayLike, "..."],
        plane: Float[ArrayLike, "n D"] | None = None,
    ):
        self.shape = np.shape(mean)
        plane = np.zeros((0, np.size(mean))) if plane is None else np.asarray(plane)
        self.plane_dim = len(plane)
        self.mean, self.scale, self.reflections = (
            NonTrainable(jax.tree.map(lambda array: jnp.asarray(array, dtype=float), part))
            for part in (mean, scale, reflections_to(plane))
        )

    @classmethod
    def identity(cls, shape: int | tuple[int, ...], plane_dim: int = 0) -> "Placement":
        """The placement that changes nothing, until it is placed on a plane of ``plane_dim``.

        Args:
            shape: Number D of features, or shape of a data point.
            plane_dim: Dimension n of the plane.
        """
        mean = np.zeros(shape)
        return cls(mean, np.ones(shape), np.eye(plane_dim, mean.size))

    def transform_and_log_det(self, x, condition=None):
        turned = self.reflections.turn(jnp.ravel(x)).reshape(self.shape)
        return self.mean + self.scale * turned, jnp.log(self.scale).sum()

    def inverse_and_log_det(self, y, condition=None):
        z = (y - self.mean) / self.scale
        turned = self.reflections.turn_back(jnp.ravel(z)).reshape(self.shape)
        return turned, -jnp.log(self.scale).sum()


def placement_of(part: PyTree) -> Placement | None:
    """The last placement in a chart or density, ``None`` if it has none."""
    leaves = jax.tree.leaves(part, is_leaf=lambda leaf: isinstance(leaf, Placement))
    placements = [leaf for leaf in leaves if isinstance(leaf, Placement)]
    return placements[-1] if placements else None


def place(part: PyTree, placement: Placement) -> PyTree:
    """``part`` with its last placement replaced.

    Raises:
        ValueError: If there is none, or one whose plane has another dimension: a saved flow could
            not be read again.
    """
    old = placement_of(part)
    if old is None:
        raise ValueError("Expected a chart or density with a Placement among its layers.")
    if old.plane_dim != placement.plane_dim:
        raise ValueError(
            f"Expected a placement on a plane of dimension {old.plane_dim}, as the one it "
            f"replaces; got {placement.plane_dim}."
        )
    return jax.tree.map(
        lambda leaf: placement if leaf is old else leaf,
        part,
        is_leaf=lambda leaf: isinstance(leaf, Placement),
    )
