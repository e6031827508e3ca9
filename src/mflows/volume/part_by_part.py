r"""Log-volume of a product of manifolds: the sum of those of its parts."""

import jax.numpy as jnp

from mflows.charts import Product
from mflows.volume.volume import Volume


class PartByPart(Volume):
    """Each part of a `Product` by a method for parts.

    Args:
        of_part: The method for every part.
    """

    of_part: Volume

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not isinstance(chart, Product):
            raise TypeError(
                f"PartByPart needs a Product of charts; got {type(chart).__name__}. Use Auto."
            )
        found = [
            self.of_part.decode_and_log_volume(part, piece, condition, key)
            for part, piece in zip(chart.parts, chart.split(u), strict=True)
        ]
        points, log_volumes = zip(*found, strict=True)
        return jnp.concatenate(points), sum(log_volumes)
