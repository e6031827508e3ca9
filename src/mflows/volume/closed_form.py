r"""Log-volume of a chart that knows its own, such as a sphere in spherical coordinates."""

from mflows.charts import HasLogVolume
from mflows.volume.volume import Volume


class ClosedForm(Volume):
    """The chart's own formula. For prescribed manifolds; no derivatives."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not isinstance(chart, HasLogVolume):
            raise TypeError(
                f"ClosedForm needs a chart with a method log_volume; got {type(chart).__name__}. "
                "Use Exact or Auto."
            )
        return chart.decode(u, condition), chart.log_volume(u, condition)
