"""Recipes: functions that return lists of phases, ready for ``fit``."""

from mflows.training.recipes.likelihood import (
    denoising,
    maximum_likelihood,
    scandal_likelihood,
    variational,
)
from mflows.training.recipes.phases import epochs_for
from mflows.training.recipes.reconstruction import (
    alternating,
    canonical,
    free_form,
    manifold_then_density,
    rectangular,
    relaxed_injective,
    scandal,
    simultaneous,
)
from mflows.training.recipes.samples import (
    adversarial,
    alternating_optimal_transport,
    optimal_transport,
)

__all__ = [
    "adversarial",
    "alternating",
    "alternating_optimal_transport",
    "canonical",
    "denoising",
    "epochs_for",
    "free_form",
    "manifold_then_density",
    "maximum_likelihood",
    "optimal_transport",
    "rectangular",
    "relaxed_injective",
    "scandal",
    "scandal_likelihood",
    "simultaneous",
    "variational",
]
