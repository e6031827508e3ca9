r"""How far a log-volume can be trusted: the condition number of the decoder's Jacobian.

Rounding moves the singular values of J by about eps times the largest of them, eps the resolution
of the numbers (1.2e-7 in single precision). The log-volume is the sum of their logarithms, so it is
off by about

    eps * largest / smallest singular value

and so is ``log_prob``. Log-volumes that take no Jacobian have no such error.

Cost: n tangents. Error: that of its own rounding, so a number above 1 / eps only says "singular".
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from mflows.charts import Chart, without_encoder
from mflows.volume.auto import Auto
from mflows.volume.closed_form import ClosedForm
from mflows.volume.conformal import Conformal
from mflows.volume.determinant import Determinant
from mflows.volume.intractable import Intractable
from mflows.volume.part_by_part import PartByPart
from mflows.volume.volume import Volume

DOUBT = 0.01
"""Error of a log-volume, in nats, from which on its point counts as ill-conditioned."""


def condition_number(chart: Chart, u: Float[Array, " n"], condition: Array | None = None) -> Scalar:
    """Largest over smallest singular value of the chart's Jacobian at ``u``."""
    frame = jnp.eye(chart.latent_dim, dtype=u.dtype)
    _, tangents = without_encoder(chart).pushforward(u, frame, condition)
    triangle = jnp.linalg.qr(tangents.reshape(chart.latent_dim, -1).T, mode="r")
    values = jnp.linalg.svd(triangle, compute_uv=False)
    return values[0] / values[-1]


def condition_limit(dtype) -> float:
    """The condition number from which on log-volumes in this precision are in doubt."""
    return DOUBT / float(jnp.finfo(dtype).eps)


def takes_jacobian(volume: Volume, chart: Chart) -> bool:
    """Whether ``volume`` finds the log-volume of ``chart`` from its Jacobian.

    It does not for ambient flows, or for a sphere at its poles, where the Jacobian is singular and
    the log-volume exact all the same.
    """
    method = volume.choose(chart) if isinstance(volume, Auto) else volume
    return not isinstance(method, ClosedForm | Conformal | Determinant | Intractable | PartByPart)
