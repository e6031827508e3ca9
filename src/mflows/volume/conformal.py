r"""Log-volume of a chart that keeps angles (Ross & Cresswell 2021, arXiv 2106.05275).

For g(u) = f(u, 0) with f conformal,  J^T J = lambda^2 I  and  D log lambda = log |det J_f|, so

    1/2 log det(J^T J) = n log lambda = n/D log |det J_f|

Cost: none, f gives its log-determinant with its value. Exact.
"""

from mflows.charts import condition_for, is_conformal, is_padded
from mflows.volume.volume import Volume


class Conformal(Volume):
    """The share n/D of the log-determinant. Exact, for padded conformal bijections only."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not (is_padded(chart) and is_conformal(chart.bijection)):
            raise TypeError(
                "Conformal needs a padded bijection that keeps angles, such as Pad(n, D)"
                f".then(conformal_stack(key, D)); got {type(chart).__name__}. Use Exact or Auto."
            )
        inner = chart.inner.decode(u)
        x, log_det = chart.bijection.transform_and_log_det(
            inner, condition_for(chart.bijection, condition)
        )
        return x, chart.latent_dim / chart.shape[0] * log_det
