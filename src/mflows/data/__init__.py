"""Points and their conditions: load, stream, check, split and save them.

Knows nothing of flows. Polars and h5py are imported only when a file needs them.
"""

from mflows.data.checks import DataError, check_latent_dim
from mflows.data.data import Data, Split
from mflows.data.loading import STREAM_FORMATS, load, load_like, stream
from mflows.data.mapped import Mapped, Scratch
from mflows.data.save import (
    check_output,
    replacing,
    save_array,
    save_table,
    sweep,
    write_atomically,
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
    "load",
    "load_like",
    "replacing",
    "save_array",
    "save_table",
    "stream",
    "sweep",
    "write_atomically",
]
