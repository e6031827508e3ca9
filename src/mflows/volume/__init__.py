"""Methods for the log-volume 1/2 log det(J^T J) of a decoder, one per file."""

from mflows.volume.auto import Auto
from mflows.volume.closed_form import ClosedForm
from mflows.volume.complement import Complement
from mflows.volume.determinant import Determinant
from mflows.volume.exact import Exact
from mflows.volume.intractable import Intractable
from mflows.volume.part_by_part import PartByPart
from mflows.volume.volume import Volume

__all__ = [
    "Auto",
    "ClosedForm",
    "Complement",
    "Determinant",
    "Exact",
    "Intractable",
    "PartByPart",
    "Volume",
]
