r"""Exact log-volume by pushing a frame forward.

The n columns of J are the images of the unit vectors.

Cost: n tangents through the decoder, folded through coupling layers. Error: rounding. Works for
every chart.
"""

import jax
import jax.numpy as jnp

from mflows.layers import scale_of
from mflows.volume.volume import Volume, log_volume_of_rows


class Exact(Volume):
    """Pushforward of a full frame, then QR. Exact for every chart; n tangents.

    Args:
        chunk: Tangents carried at once, all by default. Fewer bound the memory of decoders whose
            layers are wide (the n x D Jacobian itself is always held) and take longer.
    """

    chunk: int | None = None

    def __check_init__(self):
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"Expected chunk >= 1, tangents at once; got {self.chunk}.")

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        n = chart.latent_dim
        frame = jnp.eye(n, dtype=u.dtype)
        if self.chunk is None or self.chunk >= n:
            x, tangents = chart.pushforward(u, frame, condition)
        else:
            x = chart.decode(u, condition)
            tangents = jax.lax.map(
                lambda row: chart.pushforward(u, row[None], condition)[1][0],
                frame,
                batch_size=self.chunk,
            )
        return x, log_volume_of_rows(tangents.reshape(n, -1), scale_of(chart))
