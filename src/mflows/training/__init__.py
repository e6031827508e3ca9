"""Training: phases, objectives, recipes and ``fit``."""

from mflows.training import recipes
from mflows.training.fit import Fitted, TrainingDiverged, fit
from mflows.training.objectives import (
    LatentNegativeLogLikelihood,
    LatentScandal,
    NegativeLogLikelihood,
    Reconstruction,
    ReverseKL,
    Scandal,
    SinkhornDivergence,
    deflated_log_prob,
)
from mflows.training.phases import Alternate, Batch, Either, Phase
from mflows.training.recipes.phases import (
    density_phase,
    flat_or_unrolled_manifold,
    joint_phase,
    likelihood_phase,
    manifold_phase,
    unrolled_manifold_phase,
)

__all__ = [
    "Alternate",
    "Batch",
    "Either",
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
    "density_phase",
    "fit",
    "flat_or_unrolled_manifold",
    "joint_phase",
    "likelihood_phase",
    "manifold_phase",
    "recipes",
    "unrolled_manifold_phase",
]
