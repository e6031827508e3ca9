"""Objectives: what a phase minimises, as objects ``(flow, batch, key) -> scalar``.

Objectives are frozen dataclasses, so that equal ones share compiled training loops.
"""

from mflows.training.objectives.adversarial import Adversarial, energy_distance
from mflows.training.objectives.denoising import NoisyLikelihood, deflated_log_prob
from mflows.training.objectives.joint import (
    Canonical,
    FreeForm,
    ReconstructionAndLikelihood,
    RelaxedInjective,
)
from mflows.training.objectives.likelihood import (
    LatentNegativeLogLikelihood,
    NegativeEvidenceLowerBound,
    NegativeLogLikelihood,
    ReverseKL,
)
from mflows.training.objectives.reconstruction import (
    AnchoredReconstruction,
    Reconstruction,
    Regression,
)
from mflows.training.objectives.scandal import LatentScandal, Scandal
from mflows.training.objectives.transport import SinkhornDivergence, sinkhorn_divergence

__all__ = [
    "Adversarial",
    "AnchoredReconstruction",
    "Canonical",
    "FreeForm",
    "LatentNegativeLogLikelihood",
    "LatentScandal",
    "NegativeEvidenceLowerBound",
    "NegativeLogLikelihood",
    "NoisyLikelihood",
    "Reconstruction",
    "ReconstructionAndLikelihood",
    "Regression",
    "RelaxedInjective",
    "ReverseKL",
    "Scandal",
    "SinkhornDivergence",
    "deflated_log_prob",
    "energy_distance",
    "sinkhorn_divergence",
]
