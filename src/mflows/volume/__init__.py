"""Methods for the log-volume 1/2 log det(J^T J) of a decoder, one per file."""

from mflows.volume.auto import Auto
from mflows.volume.closed_form import ClosedForm
from mflows.volume.complement import Complement
from mflows.volume.conditioning import condition_limit, condition_number, takes_jacobian
from mflows.volume.conformal import Conformal
from mflows.volume.conjugate_gradient import ConjugateGradient
from mflows.volume.determinant import Determinant
from mflows.volume.exact import Exact
from mflows.volume.hadamard import Hadamard
from mflows.volume.intractable import Intractable
from mflows.volume.lanczos import Lanczos
from mflows.volume.part_by_part import PartByPart
from mflows.volume.surrogate import Surrogate, surrogate
from mflows.volume.volume import Estimate, GradientOnly, HasErrorBar, Volume, gradient_of

__all__ = [
    "Auto",
    "ClosedForm",
    "Complement",
    "Conformal",
    "ConjugateGradient",
    "Determinant",
    "Estimate",
    "Exact",
    "GradientOnly",
    "Hadamard",
    "HasErrorBar",
    "Intractable",
    "Lanczos",
    "PartByPart",
    "Surrogate",
    "Volume",
    "condition_limit",
    "condition_number",
    "gradient_of",
    "surrogate",
    "takes_jacobian",
]
