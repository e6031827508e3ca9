"""Points and their conditions: load, stream, check, split and save them; pictures, too.

Knows nothing of flows. Polars, h5py and Pillow are imported only when a file needs them.
"""

from mflows.data.checks import DataError, check_latent_dim
from mflows.data.data import Data, Split
from mflows.data.levels import dequantised, from_levels, to_levels, with_mirror_images
from mflows.data.loading import STREAM_FORMATS, load, load_like, stream
from mflows.data.mapped import Mapped, Scratch
from mflows.data.pictures import pictures
from mflows.data.save import (
    check_output,
    save_array,
    save_table,
)

__all__ = [
    "STREAM_FORMATS",
    "Data",
    "DataError",
    "Mapped",
    "Scratch",
    "Split",
    "check_latent_dim",
    "check_output",
    "dequantised",
    "from_levels",
    "load",
    "load_like",
    "pictures",
    "save_array",
    "save_table",
    "stream",
    "to_levels",
    "with_mirror_images",
]
