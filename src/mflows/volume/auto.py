"""The default: an exact method, chosen by n, D and what the chart offers."""

from mflows.charts import BijectionChart, Chart, Composed, Pad
from mflows.volume.complement import Complement
from mflows.volume.determinant import Determinant
from mflows.volume.exact import Exact
from mflows.volume.volume import Volume


class Auto(Volume):
    """The cheapest exact method for the chart at hand."""

    def choose(self, chart: Chart) -> Volume:
        """Which method serves ``chart``: the one that needs the fewest derivatives."""
        if isinstance(chart, BijectionChart):
            return Determinant()
        padded = isinstance(chart, Composed) and isinstance(chart.inner, Pad)
        if padded and chart.shape[0] - chart.latent_dim < chart.latent_dim:
            return Complement()
        return Exact()

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        return self.choose(chart).decode_and_log_volume(chart, u, condition, key)
