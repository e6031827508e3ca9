r"""Exact log-volume from the complementary directions.

For g(u) = f(u, 0) let A = J_f at (u, 0) and N the last D - n rows of A^-1. Then (Jacobi's
identity for complementary minors)

    log det(J^T J) = 2 log |det A| + log det(N N^T)

log |det A| comes free with a coupling flow, and N costs D - n reverse passes of f^-1. For curves
in the plane and surfaces in space that is one.
"""

import jax
import jax.numpy as jnp

from mflows.charts import Composed, Pad, condition_for
from mflows.volume.volume import Volume


class Complement(Volume):
    """Determinant plus normals. Exact, for padded bijections; cheap when D - n < n."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not (isinstance(chart, Composed) and isinstance(chart.inner, Pad)):
            raise TypeError(
                "Complement needs a padded bijection, Pad(n, D).then(bijection); got "
                f"{type(chart).__name__}. Use Exact or Auto."
            )
        condition = condition_for(chart.bijection, condition)
        padded = chart.inner.decode(u)
        x, log_det = chart.bijection.transform_and_log_det(padded, condition)
        _, pullback = jax.vjp(lambda x: chart.bijection.inverse(x, condition), x)
        normals = jnp.eye(padded.size, dtype=u.dtype)[chart.latent_dim :]
        rows = jax.vmap(lambda normal: pullback(normal)[0])(normals)
        triangle = jnp.linalg.qr(rows.T, mode="r")
        return x, log_det + jnp.log(jnp.abs(jnp.diag(triangle))).sum()
