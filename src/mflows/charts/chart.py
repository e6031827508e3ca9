r"""Charts: maps between latent coordinates and points of a manifold.

A chart is an injective decoder  x = g(u),  u in R^n,  x in R^D,  n <= D,  with an encoder that
inverts it on the manifold,  e(g(u)) = u.  Off the manifold,  g(e(x))  is the chart's projection.
Any bijection f of R^D gives a manifold chart by zero-padding,  g(u) = f(u, 0)  and
e(x) = first n of f^-1(x)  (Brehmer & Cranmer 2020, arXiv 2003.13913).

Everything here acts on one point; batches are a matter of ``jax.vmap``.
"""

import math
from abc import abstractmethod
from typing import Protocol, TypeGuard, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractVar
from flowjax.bijections import AbstractBijection, Chain
from jaxtyping import Array, Float, Scalar

from mflows.layers.placement import Placement
from mflows.layers.stack import leading
from mflows.tangents import inverted, pushforward, transformed


class Unavailable(ValueError):
    """A flow was asked for something that its system cannot give; the message says what it can."""


class Chart(eqx.Module):
    """Interface of every chart.

    Attributes:
        shape: Shape of a data point x.
        latent_dim: Dimension n of the manifold.
        cond_shape: Shape of the condition theta, ``None`` if the chart does not depend on one.
            A condition given to such a chart is ignored.
    """

    shape: AbstractVar[tuple[int, ...]]
    latent_dim: AbstractVar[int]
    cond_shape: AbstractVar[tuple[int, ...] | None]

    @property
    def dim(self) -> int:
        """Number D of features of a data point."""
        return math.prod(self.shape)

    @abstractmethod
    def decode(self, u: Float[Array, " n"], condition: Array | None = None) -> Array:
        """The point of the manifold with coordinates ``u``."""

    @abstractmethod
    def encode(self, x: Array, condition: Array | None = None) -> Float[Array, " n"]:
        """Coordinates of the projection of ``x`` to the manifold."""

    def project(self, x: Array, condition: Array | None = None) -> Array:
        """The chart's projection of ``x`` to the manifold, ``decode(encode(x))``."""
        return self.decode(self.encode(x, condition), condition)

    def pushforward(
        self, u: Float[Array, " n"], frame: Float[Array, "k n"], condition: Array | None = None
    ) -> tuple[Array, Float[Array, "k ..."]]:
        """Decode ``u`` and carry tangent vectors along.

        Args:
            u: Latent coordinates.
            frame: k tangent vectors at ``u``, one per row.
            condition: The condition, if the chart needs one.

        Returns:
            The point x = g(u), and the k images J v of the rows v of ``frame``, shape
            (k, *shape). With ``frame = eye(n)`` they are the columns of the Jacobian J.
        """
        return pushforward(self, u, frame, condition)

    def then(self, bijection: AbstractBijection) -> "Chart":
        """This chart followed by a bijection of data space."""
        if bijection.shape != self.shape:
            raise ValueError(
                f"Expected a bijection of shape {self.shape} to follow this chart; got "
                f"{bijection.shape}."
            )
        if isinstance(self, BijectionChart):
            return BijectionChart(Chain([self.bijection, bijection]).merge_chains())
        return Composed(self, bijection)


@runtime_checkable
class HasLogVolume(Protocol):
    """A chart whose log-volume has a closed form."""

    def log_volume(self, u: Float[Array, " n"], condition: Array | None = None) -> Scalar:
        """1/2 log det(J^T J) of the decoder at ``u``."""
        ...


class BijectionChart(Chart):
    """A FlowJAX bijection as a chart of the whole space, n = D.

    Args:
        bijection: Its ``transform`` decodes, its ``inverse`` encodes. Where its points are no
            vectors, the coordinates are the numbers of one in their order.
    """

    bijection: AbstractBijection
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: tuple[int, ...] | None

    def __init__(self, bijection: AbstractBijection):
        self.bijection = bijection
        self.shape = bijection.shape
        self.latent_dim = math.prod(bijection.shape)
        self.cond_shape = bijection.cond_shape

    def decode(self, u, condition=None):
        return transformed(self.bijection, u.reshape(self.shape), condition)

    def encode(self, x, condition=None):
        return inverted(self.bijection, x, condition).ravel()


class Pad(Chart):
    """The coordinate plane of the first n axes: ``decode`` appends zeros, ``encode`` drops.

    Args:
        latent_dim: Dimension n of the plane, 1 <= n < D.
        shape: Number D of features, or shape of a data point, whose axes are taken in order.
    """

    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: None = None

    def __init__(self, latent_dim: int, shape: int | tuple[int, ...]):
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        check_latent_dim(latent_dim, self.dim)
        self.latent_dim = latent_dim

    def decode(self, u, condition=None):
        return jnp.pad(u, (0, self.dim - self.latent_dim)).reshape(self.shape)

    def encode(self, x, condition=None):
        return x.ravel()[: self.latent_dim]


class Composed(Chart):
    """A chart followed by a bijection of data space, ``g(u) = f(inner(u))``.

    Args:
        inner: The chart applied first when decoding. A composed one is flattened.
        bijection: The bijection f applied last when decoding.
    """

    inner: Chart
    bijection: AbstractBijection
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: tuple[int, ...] | None

    def __init__(self, inner: Chart, bijection: AbstractBijection):
        if isinstance(inner, Composed):
            bijection = Chain([inner.bijection, bijection]).merge_chains()
            inner = inner.inner
        self.inner = inner
        self.bijection = bijection
        self.shape = bijection.shape
        self.latent_dim = inner.latent_dim
        self.cond_shape = common_condition(inner.cond_shape, bijection.cond_shape)

    def decode(self, u, condition=None):
        return transformed(self.bijection, self.inner.decode(u, condition), condition)

    def encode(self, x, condition=None):
        if is_padded(self):
            return leading(self.bijection, x, self.latent_dim, condition)
        return self.inner.encode(inverted(self.bijection, x, condition), condition)


def unplaced(chart: Chart) -> tuple[Chart, Placement | None]:
    """What comes before the placement that a chart ends with, and that; the chart without one."""
    if not isinstance(chart, Composed):
        return chart, None
    whole = chart.bijection
    *before, last = whole.bijections if isinstance(whole, Chain) else (whole,)
    if not isinstance(last, Placement):
        return chart, None
    return (Composed(chart.inner, Chain(before)) if before else chart.inner), last


def is_padded(chart: Chart) -> TypeGuard[Composed]:
    """Whether a chart is a padded bijection, ``Pad(n, D).then(bijection)``."""
    return isinstance(chart, Composed) and isinstance(chart.inner, Pad)


def check_latent_dim(latent_dim: int, dim: int) -> None:
    """Raise ``ValueError`` unless a manifold of this dimension fits into space."""
    if not 1 <= latent_dim < dim:
        raise ValueError(
            f"Expected 1 <= latent_dim < {dim}, the number of features; got {latent_dim}."
        )


def common_condition(
    first: tuple[int, ...] | None, second: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """The condition shape of a chart of two parts; ``ValueError`` if they want different ones."""
    if first is not None and second is not None and first != second:
        raise ValueError(
            f"Expected parts of a chart to share one condition shape; got {first} and {second}."
        )
    return first if second is None else second


@pushforward.register
def _(chart: Composed, u, frame, condition):
    x, tangents = pushforward(chart.inner, u, frame, condition)
    return pushforward(chart.bijection, x, tangents, condition)
