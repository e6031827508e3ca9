r"""Exact log-volume from the complementary directions.

For g(u) = f(u, 0) let A = J_f at (u, 0) and N the last D - n rows of A^-1, the conormals of the
manifold. Then (Jacobi's identity for complementary minors)

    log det(J^T J) = 2 log |det A| + log det(N N^T)

log |det A| comes free with a coupling flow, and N costs D - n covectors carried along. For curves
in the plane and surfaces in space that is one.
"""

import jax.numpy as jnp

from mflows.charts import is_padded, push_conormals
from mflows.layers import scale_of
from mflows.volume.volume import Volume, log_volume_of_rows


class Complement(Volume):
    """Determinant plus conormals. Exact, for padded bijections; cheap when D - n < n."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not is_padded(chart):
            raise TypeError(
                "Complement needs a padded bijection, Pad(n, D).then(bijection); got "
                f"{type(chart).__name__}. Use Exact or Auto."
            )
        padded = chart.inner.decode(u)
        conormals = jnp.eye(chart.dim, dtype=u.dtype)[chart.latent_dim :]
        conormals = conormals.reshape(-1, *chart.shape)
        x, log_det, conormals = push_conormals(chart.bijection, padded, conormals, condition)
        scale = scale_of(chart)
        rows = conormals.reshape(-1, chart.dim)
        return x, log_det + log_volume_of_rows(rows, None if scale is None else 1 / scale)
