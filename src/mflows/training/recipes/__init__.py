"""Recipes: functions that return lists of phases, ready for ``fit``."""

from mflows.training.recipes.epochs import epochs_for
from mflows.training.recipes.from_samples import (
    adversarial,
    alternating_optimal_transport,
    optimal_transport,
)
from mflows.training.recipes.in_turns import alternating, manifold_then_density, scandal
from mflows.training.recipes.likelihood import denoising, maximum_likelihood, variational
from mflows.training.recipes.together import (
    canonical,
    free_form,
    rectangular,
    relaxed_injective,
    simultaneous,
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
    "simultaneous",
    "variational",
]
