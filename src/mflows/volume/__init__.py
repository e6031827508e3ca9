"""Methods for the log-volume 1/2 log det(J^T J) of a decoder."""

from mflows.volume.auto import Auto
from mflows.volume.complement import Complement
from mflows.volume.conditioning import condition_limit, condition_number
from mflows.volume.conjugate_gradient import ConjugateGradient
from mflows.volume.exact import Exact
from mflows.volume.free_form import Surrogate, surrogate
from mflows.volume.hadamard import Hadamard
from mflows.volume.lanczos import Lanczos
from mflows.volume.volume import Estimate, GradientOnly, HasErrorBar, Volume, gradient_of, length
from mflows.volume.without_jacobian import (
    ClosedForm,
    Conformal,
    Determinant,
    Intractable,
    PartByPart,
)

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
    "length",
    "surrogate",
]
