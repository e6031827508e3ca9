r"""How far a log-volume can be trusted: the condition number of the decoder's Jacobian.

Rounding moves the singular values of J, the Jacobian in units of the data's scales, by about eps
times the largest of them, eps the resolution of the numbers (1.2e-7 in single precision). The
log-volume is the sum of their logarithms, so it is off by about

    eps * largest / smallest singular value

and so is ``log_prob``. Log-volumes that take no Jacobian have no such error.

Cost: n tangents. Error: that of its own rounding, so a number above 1 / eps only says "singular".
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from mflows.charts import Chart, without_encoder
from mflows.layers import scale_of

DOUBT = 0.01
"""Error of a log-volume, in nats, from which on its point counts as ill-conditioned."""


def condition_number(chart: Chart, u: Float[Array, " n"], condition: Array | None = None) -> Scalar:
    """Largest over smallest singular value of the Jacobian of the chart, in scaled units."""
    frame = jnp.eye(chart.latent_dim, dtype=u.dtype)
    _, tangents = without_encoder(chart).pushforward(u, frame, condition)
    rows, scale = tangents.reshape(chart.latent_dim, -1), scale_of(chart)
    triangle = jnp.linalg.qr((rows if scale is None else rows / scale).T, mode="r")
    values = jnp.linalg.svd(triangle, compute_uv=False)
    return values[0] / values[-1]


def condition_limit(dtype) -> float:
    """The condition number from which on log-volumes in this precision are in doubt."""
    return DOUBT / float(jnp.finfo(dtype).eps)
