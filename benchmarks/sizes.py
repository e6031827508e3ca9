"""The problems that the benchmarks share."""

from typing import NamedTuple

BATCH = 100
"""Points per training step."""


class Size(NamedTuple):
    """One size of problem: a chart of ``layers`` coupling layers, a density of as many."""

    dim: int
    latent_dim: int
    layers: int
    linear: bool
    bins: int
    width: int = 64
    blocks: int = 1

    @property
    def title(self) -> str:
        """What the tables call it."""
        return f"D = {self.dim}, n = {self.latent_dim}"


SMALL = Size(3, 2, layers=5, linear=False, bins=10)
MIDDLE = Size(40, 14, layers=10, linear=True, bins=11)
LARGE = Size(12_288, 64, layers=4, linear=False, bins=8)
"""As many numbers as an image of 64 x 64 x 3."""
WIDE = Size(3_072, 64, layers=4, linear=False, bins=8)
"""As many numbers as an image of 32 x 32 x 3."""
