r"""Log-volume of a chart with n = D:  1/2 log det(J^T J) = log |det J|,  free in a flow."""

from mflows.charts import BijectionChart, condition_for
from mflows.volume.volume import Volume


class Determinant(Volume):
    """The bijection's own log-determinant. Exact, for charts of the whole space only."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not isinstance(chart, BijectionChart):
            raise TypeError(
                "Determinant needs a chart of the whole space, a BijectionChart; got "
                f"{type(chart).__name__} with n = {chart.latent_dim} in D = {chart.shape}. "
                "Use Exact, Complement or Auto."
            )
        return chart.bijection.transform_and_log_det(u, condition_for(chart, condition))
