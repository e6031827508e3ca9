"""Training: phases, objectives, recipes and ``fit``."""

from mflows.training import recipes
from mflows.training.denoising import deflated_log_prob
from mflows.training.fit import Fitted, fit
from mflows.training.objectives import (
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Reconstruction,
    ReverseKL,
)
from mflows.training.phase import Alternate, Batch, Phase
from mflows.training.scandal import LatentScandal, Scandal
from mflows.training.transport import SinkhornDivergence
from mflows.training.visit import TrainingDiverged

__all__ = [
    "Alternate",
    "Batch",
    "Fitted",
    "LatentNegativeLogLikelihood",
    "LatentScandal",
    "NegativeLogLikelihood",
    "Phase",
    "Reconstruction",
    "ReverseKL",
    "Scandal",
    "SinkhornDivergence",
    "TrainingDiverged",
    "deflated_log_prob",
    "fit",
    "recipes",
]
