"""For systems whose density is not the pushforward of their latent density: it says so."""

import equinox as eqx

from mflows.charts import Unavailable
from mflows.volume.volume import Volume


class Intractable(Volume):
    """Raises ``Unavailable`` where a density is asked for.

    Args:
        reason: What is wrong with asking, and what to ask for instead.
    """

    reason: str = eqx.field(static=True)

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        raise Unavailable(self.reason)
