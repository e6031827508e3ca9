"""Recipes: functions that return lists of phases, ready for ``fit``."""

from mflows.training.objectives import (
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Reconstruction,
)
from mflows.training.phase import Phase
from mflows.training.start import place_chart, place_latent


def manifold_then_density(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
) -> list[Phase]:
    """Sequential M/D training (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 3.2).

    Half the epochs learn the manifold by reconstruction, half the density on it by maximum
    likelihood with the manifold frozen.
    """
    common = {"batch_size": batch_size, "learning_rate": learning_rate, "patience": patience}
    return [
        Phase(
            Reconstruction(),
            ("chart",),
            max(epochs // 2, 1),
            name="manifold",
            start=place_chart,
            **common,
        ),
        Phase(
            LatentNegativeLogLikelihood(),
            ("latent",),
            max(epochs - epochs // 2, 1),
            name="density",
            start=place_latent,
            **common,
        ),
    ]


def maximum_likelihood(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
) -> list[Phase]:
    """Maximise the likelihood of chart and latent density together.

    The recipe for ambient flows (n = D) and prescribed manifolds. On a *learned* manifold with
    n < D it is ill-posed: many manifolds fit equally well.
    """
    return [
        Phase(
            NegativeLogLikelihood(),
            ("chart", "latent"),
            epochs,
            name="density",
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience,
            start=place_chart,
        )
    ]
