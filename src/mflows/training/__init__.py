"""Training: phases, objectives, recipes and ``fit``."""

from mflows.training import recipes
from mflows.training.fit import Fitted, TrainingDiverged, fit
from mflows.training.objectives.denoising import deflated_log_prob
from mflows.training.objectives.likelihood import (
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Reconstruction,
    ReverseKL,
)
from mflows.training.objectives.scandal import LatentScandal, Scandal
from mflows.training.objectives.transport import SinkhornDivergence
from mflows.training.phases import Alternate, Batch, Phase

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
