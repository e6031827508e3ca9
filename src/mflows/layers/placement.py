r"""Where a chart sits in data space: scaling and the choice of the starting plane.

    x = mean + scale * T(Q z),   Q orthogonal

``z`` has zero mean and comparable scales, and the plane of its first n axes is the one from which
learning starts. T is the identity, or gives columns heavy tails (``mflows.layers.tails``). All are
chosen from data before training (see ``mflows.training.starts``) and do not train. Being a layer of
the chart, the scaling enters the Gram determinant by the chain rule and all public numbers stay in
the data's own units. Q is kept as n reflections (``mflows.layers.reflections``).

Data such as POSIX seconds have a mean far beyond their spread, and lose their digits in single
precision. So a mean is kept as two numbers, to 48 bits, and a flow takes it off in double precision
before it computes in single (``Placement.centre``, ``Flow.centred``).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection, Chain
from jaxtyping import Array, ArrayLike, Float, PyTree, Scalar
from paramax import NonTrainable, unwrap

from mflows.layers.reflections import reflections_to
from mflows.layers.tails import heavier, lighter


class Placement(AbstractBijection):
    """An affine map of data space that does not train; the identity until it is placed.

    Args:
        mean: Centre of the data, of the shape of a data point of D features; double precision is
            kept, the rest beyond single precision in ``remainder``.
        scale: Positive scale per feature, of the same shape.
        plane: Orthonormal vectors that span the plane, shape (n, D): the first n columns of Q,
            which turns the features in their order. ``None``, or none of them, for a placement
            that only shifts and scales.
        tails: Indices of the lower and upper tails, shape (2, *shape), 0 for light ones; ``None``
            for a placement without T.
    """

    mean: Any  # a NonTrainable array; the array itself in methods, which act on unwrapped layers
    remainder: Any
    scale: Any
    reflections: Any
    tails: Any
    shape: tuple[int, ...]
    plane_dim: int
    cond_shape: None = None

    def __init__(
        self,
        mean: Float[ArrayLike, "..."],
        scale: Float[ArrayLike, "..."],
        plane: Float[ArrayLike, "n D"] | None = None,
        tails: Float[ArrayLike, "2 ..."] | None = None,
    ):
        self.shape = np.shape(mean)
        plane = np.zeros((0, np.size(mean))) if plane is None else np.asarray(plane)
        self.plane_dim = len(plane)
        high, low = _in_two(mean)
        scale, tails = np.asarray(scale), None if tails is None else np.asarray(tails)
        self.mean, self.remainder, self.scale, self.reflections, self.tails = (
            part
            if part is None
            else NonTrainable(jax.tree.map(lambda array: jnp.asarray(array, dtype=float), part))
            for part in (high, low, scale, reflections_to(plane), tails)
        )

    @classmethod
    def identity(
        cls, shape: int | tuple[int, ...], plane_dim: int = 0, *, tails: bool = False
    ) -> "Placement":
        """The placement that changes nothing, until it is placed on a plane of ``plane_dim``.

        Args:
            shape: Number D of features, or shape of a data point.
            plane_dim: Dimension n of the plane.
            tails: Let it be placed on data with heavy tails.
        """
        mean = np.zeros(shape)
        indices = np.zeros((2, *mean.shape)) if tails else None
        return cls(mean, np.ones(shape), np.eye(plane_dim, mean.size), indices)

    @property
    def centre(self) -> np.ndarray:
        """The mean in double precision."""
        return numbers(self.mean) + numbers(self.remainder)

    def moved(self, mean: Float[ArrayLike, "..."]) -> "Placement":
        """The same scale and plane around another mean."""
        wrapped = isinstance(self.mean, NonTrainable)
        parts = (jnp.asarray(part, dtype=float) for part in _in_two(mean))
        parts = tuple(NonTrainable(part) if wrapped else part for part in parts)
        return eqx.tree_at(lambda layer: (layer.mean, layer.remainder), self, parts)

    def in_two(self) -> tuple["Placement", "Placement"]:
        """The turn alone, and the scaling alone that may follow after other layers."""
        still = Placement.identity(self.shape)

        def turns(layer):
            return layer.reflections, layer.plane_dim

        return (
            eqx.tree_at(turns, still, turns(self)),
            eqx.tree_at(turns, self, turns(still)),
        )

    def transform_and_log_det(self, x, condition=None):
        turned = self.reflections.turn(jnp.ravel(x)).reshape(self.shape)
        log_det = jnp.log(self.scale).sum()
        if self.tails is not None:
            turned, slope = heavier(turned, self.tails)
            log_det += slope.sum()
        return self.mean + (self.remainder + self.scale * turned), log_det

    def inverse_and_log_det(self, y, condition=None):
        z, log_det = self.scaled(y)
        return self.reflections.turn_back(jnp.ravel(z)).reshape(self.shape), log_det

    def scaled(self, y: ArrayLike) -> tuple[Array, Scalar]:
        """A point standardised, but not yet turned, and the log-determinant of that map."""
        z, log_det = ((y - self.mean) - self.remainder) / self.scale, -jnp.log(self.scale).sum()
        if self.tails is None:
            return z, log_det
        z, slope = lighter(z, self.tails)
        return z, log_det + slope.sum()


def plain(part: Any) -> Any:
    """An array that may be wrapped, without the operation that unwrapping is."""
    return part.tree if isinstance(part, NonTrainable) else part


def numbers(part: Any) -> np.ndarray:
    """An array that may be wrapped, in double precision, off the device."""
    return np.asarray(plain(part), dtype=np.float64)


def _in_two(mean: Float[ArrayLike, "..."]) -> tuple[np.ndarray, np.ndarray]:
    """A mean in JAX's precision, and what that leaves of it."""
    mean = np.asarray(mean, dtype=np.float64)
    high = mean.astype(jnp.zeros(()).dtype)
    return high, mean - high


def placement_of(part: PyTree) -> Placement | None:
    """The last placement in a chart or density, ``None`` if it has none."""
    return (placements_of(part) or [None])[-1]


def placements_of(part: PyTree) -> list[Placement]:
    """What is placed on data: the last placement in a chart or density, if it has one.

    Charts of images have two, which are placed together: the first one turns, before layers that
    know what is beside what in an image, and the last one scales.
    """
    leaves = jax.tree.leaves(part, is_leaf=lambda leaf: isinstance(leaf, Placement))
    found = [leaf for leaf in leaves if isinstance(leaf, Placement)]
    apart = len(found) > 1 and found[0].plane_dim and not found[-1].plane_dim
    return [found[0], found[-1]] if apart else found[-1:]


def outermost(chart: PyTree) -> Placement | None:
    """The placement that a chart ends with, between it and data space; ``None`` if it has none."""
    layer = getattr(chart, "bijection", None)
    while isinstance(layer, Chain):
        layer = layer.bijections[-1]
    return layer if isinstance(layer, Placement) else None


def scale_of(chart: PyTree) -> Float[Array, " D"] | None:
    """Scales of the D numbers of a point: those of the placement that a chart ends with."""
    placement = unwrap(outermost(chart))
    return None if placement is None else jnp.ravel(placement.scale)


def unit_of(chart: PyTree) -> Scalar:
    """The largest of these scales, 1 without a placement: what lengths are measured in."""
    scale = scale_of(chart)
    return jnp.ones(()) if scale is None else jax.lax.stop_gradient(scale.max())


def place(part: PyTree, placement: Placement) -> PyTree:
    """``part`` with its placement replaced, or with the turn and the scaling of it in their places.

    Raises:
        ValueError: If there is none, or one whose plane has another dimension: a saved flow could
            not be read again.
    """
    old = placements_of(part)
    if not old:
        raise ValueError("Expected a chart or density with a Placement among its layers.")
    if old[0].plane_dim != placement.plane_dim:
        raise ValueError(
            f"Expected a placement on a plane of dimension {old[0].plane_dim}, as the one it "
            f"replaces; got {placement.plane_dim}."
        )
    new = [placement] if len(old) == 1 else placement.in_two()
    replaced = dict(zip(map(id, old), new, strict=True))
    return jax.tree.map(
        lambda leaf: replaced.get(id(leaf), leaf),
        part,
        is_leaf=lambda leaf: isinstance(leaf, Placement),
    )
