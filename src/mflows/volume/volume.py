r"""Log-volumes: by how much a decoder stretches n-dimensional volume,  1/2 log det(J^T J).

A method of computing it is an object, so that *what* is wanted (the density) and *how* it is
computed stay apart, as solvers do in Lineax.
"""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from mflows.charts import Chart


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


def log_volume_of_rows(rows: Float[Array, "k D"]) -> Scalar:
    """Log-volume of the parallelepiped that k <= D vectors span, 1/2 log det(A A^T).

    By A^T = Q R it is sum_i log |R_ii|. QR of A loses half as many digits as a Cholesky
    factorisation of A A^T, which fails in float32 at condition numbers near 1e4.
    """
    if rows.shape[0] == 1:  # R is the norm
        return jnp.log(jnp.linalg.norm(rows))
    triangle = jnp.linalg.qr(rows.T, mode="r")
    return jnp.log(jnp.abs(jnp.diag(triangle))).sum()
