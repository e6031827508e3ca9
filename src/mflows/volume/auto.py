"""The default: an exact method, chosen by n, D and what the chart offers."""

from mflows.charts import (
    BijectionChart,
    Chart,
    HasLogVolume,
    Product,
    is_conformal,
    is_padded,
    without_encoder,
)
from mflows.volume.complement import Complement
from mflows.volume.exact import Exact
from mflows.volume.volume import Volume
from mflows.volume.without_jacobian import ClosedForm, Conformal, Determinant, PartByPart


class Auto(Volume):
    """The cheapest exact method for the chart at hand."""

    def choose(self, chart: Chart) -> Volume:
        """Which method serves ``chart``: the one that needs the fewest derivatives."""
        chart = without_encoder(chart)
        if isinstance(chart, BijectionChart):
            return Determinant()
        if isinstance(chart, HasLogVolume):
            return ClosedForm()
        if isinstance(chart, Product):
            return PartByPart(self)
        if is_padded(chart) and is_conformal(chart.bijection):
            return Conformal()
        if is_padded(chart) and chart.dim - chart.latent_dim < chart.latent_dim:
            return Complement()
        return Exact()

    def takes_jacobian(self, chart: Chart) -> bool:
        return self.choose(chart).takes_jacobian(chart)

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        chart = without_encoder(chart)  # log-volumes are those of the decoder
        return self.choose(chart).decode_and_log_volume(chart, u, condition, key)
