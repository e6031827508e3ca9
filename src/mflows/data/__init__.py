"""Tables of points: load or stream, check, split and save them.

Knows nothing of flows. Polars and h5py are imported only when a file needs them.
"""

from mflows.data.atomic import replacing, write_atomically
from mflows.data.checks import DataError, check_latent_dim
from mflows.data.data import Data, Split
from mflows.data.load import Pieces, load, load_like, pieces_like
from mflows.data.save import check_output, save_array, save_table
from mflows.data.stream import FORMATS as STREAM_FORMATS
from mflows.data.stream import Stream, StreamSplit, stream

__all__ = [
    "STREAM_FORMATS",
    "Data",
    "DataError",
    "Pieces",
    "Split",
    "Stream",
    "StreamSplit",
    "check_latent_dim",
    "check_output",
    "load",
    "load_like",
    "pieces_like",
    "replacing",
    "save_array",
    "save_table",
    "stream",
    "write_atomically",
]
