"""Training: phases, objectives, recipes and ``fit``."""

from mflows.training import recipes
from mflows.training.fit import Fitted, TrainingDiverged, fit
from mflows.training.objectives import (
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Reconstruction,
)
from mflows.training.phase import Alternate, Batch, Phase

__all__ = [
    "Alternate",
    "Batch",
    "Fitted",
    "LatentNegativeLogLikelihood",
    "NegativeLogLikelihood",
    "Phase",
    "Reconstruction",
    "TrainingDiverged",
    "fit",
    "recipes",
]
