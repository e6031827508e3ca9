r"""Log-volumes: by how much a decoder stretches n-dimensional volume,  1/2 log det(J^T J).

A method of computing it is an object, so that *what* is wanted (the density) and *how* it is
computed stay apart, as solvers do in Lineax.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from mflows.charts import Chart
from mflows.layers import unit_of


class Volume(eqx.Module):
    """Interface of every method for the log-volume."""

    @abstractmethod
    def decode_and_log_volume(
        self,
        chart: Chart,
        u: Float[Array, " n"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Array, Scalar]:
        """The point g(u) and 1/2 log det(J^T J) there; the two share most of their work.

        Args:
            chart: The chart whose decoder is g.
            u: Latent coordinates of one point.
            condition: The condition, if the chart needs one.
            key: Random key, used by stochastic methods only.
        """

    def log_volume(
        self,
        chart: Chart,
        u: Float[Array, " n"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Scalar:
        """1/2 log det(J^T J) of the chart's decoder at ``u``."""
        return self.decode_and_log_volume(chart, u, condition, key)[1]

    @property
    def has_value(self) -> bool:
        """Whether there are log-volumes at all, and so densities."""
        return True

    def takes_jacobian(self, chart: Chart) -> bool:
        """Whether the log-volume of ``chart`` is found from its Jacobian.

        It is not for ambient flows, or for a sphere at its poles, where the Jacobian is singular
        and the log-volume exact all the same.
        """
        return True


class Estimate(NamedTuple):
    """An estimated log-volume and its standard error."""

    value: Scalar
    standard_error: Scalar


@runtime_checkable
class HasErrorBar(Protocol):
    """A method whose estimates come with their standard error."""

    def estimate(
        self,
        chart: Chart,
        u: Float[Array, " n"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Estimate:
        """The log-volume at ``u`` and its standard error."""
        ...


class GradientOnly(Volume):
    """Interface of methods that estimate the gradient of the log-volume, for training alone.

    Their value is 0, so that a loss shows what it has besides; a flow with such a method refuses to
    give densities.
    """

    @property
    def has_value(self) -> bool:
        return False


def gradient_of(value: Scalar) -> Scalar:
    """Zero, with the gradient of ``value``."""
    return value - jax.lax.stop_gradient(value)


def gram_operator(
    chart: Chart, u: Float[Array, " n"], condition: Array | None = None
) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
    """The function v -> J^T (J v) at ``u``; a jvp and a vjp each time, and J is never formed.

    J is that of the decoder in units of ``unit_of(chart)``.
    """
    unit = unit_of(chart)
    _, push = jax.linearize(lambda u: chart.decode(u, condition) / unit, u)
    pull = jax.linear_transpose(push, u)
    return lambda v: pull(push(v))[0]


def needed(key: PRNGKeyArray | None, method: Volume) -> PRNGKeyArray:
    """The key, for methods that draw; ``ValueError`` where there is none."""
    if key is None:
        raise ValueError(
            f"Expected a random key: {type(method).__name__} draws probes; got none. Pass key=..., "
            "or take Exact or Auto, which need none."
        )
    return key


def length(x: Array) -> Scalar:
    """Euclidean norm over all axes, with derivative 0 at 0.

    Of numbers of any size: squares of 1e-30 or 1e30 are none that single precision holds.
    """
    unit = jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0))
    unit = jnp.where((unit > jnp.finfo(unit.dtype).tiny) & jnp.isfinite(unit), unit, 1)
    squares = jnp.sum((x / unit) ** 2)
    zero = squares == 0  # not `> 0`, which would take NaN for 0
    return unit * jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squares)))


def log_volume_of_rows(
    rows: Float[Array, "k D"], scale: Float[Array, " D"] | None = None
) -> Scalar:
    """Log-volume of the parallelepiped that k <= D vectors span, 1/2 log det(A A^T).

    By A^T = Q R it is sum_i log |R_ii|. QR of A loses half as many digits as a Cholesky
    factorisation of A A^T, which fails in float32 at condition numbers near 1e4.

    Args:
        rows: The vectors, rows of A.
        scale: Sizes of the columns of A, all alike by default. Householder's reflections are
            accurate row by row of A^T where large rows come first (Cox & Higham 1998, BIT 38),
            and so for columns of very different units.
    """
    if rows.shape[0] == 1:  # R is the norm
        return jnp.log(length(rows))
    if scale is None:
        scale = jnp.ones((), rows.dtype)
    else:
        rows = rows[:, jnp.argsort(-scale)]
    unit = scale.max()
    triangle = jnp.linalg.qr(rows.T / unit, mode="r")
    return jnp.log(jnp.abs(jnp.diag(triangle))).sum() + rows.shape[0] * jnp.log(unit)
