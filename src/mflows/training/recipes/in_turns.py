"""Recipes that learn the manifold by reconstruction and the density by likelihood, in turns."""

from dataclasses import replace
from typing import Any

from mflows.training.objectives.likelihood import (
    AnchoredReconstruction,
    LatentNegativeLogLikelihood,
    Reconstruction,
)
from mflows.training.objectives.scandal import WEIGHT, LatentScandal
from mflows.training.phases import Alternate, Phase
from mflows.training.recipes.epochs import patience_for
from mflows.training.starts import is_flat, is_rolled, place_chart, place_latent, unroll


def manifold_then_density(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
) -> list[Phase]:
    """Sequential M/D training (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 3.2).

    Half the epochs learn the manifold by reconstruction, half the density on it by maximum
    likelihood with the manifold frozen. The manifold phase comes in two forms, of which the data
    decide one: for data that are a graph over some plane, learned in bold steps of a clipped
    gradient, and for rolled sheets, which are unrolled first and then learned more carefully.

    Args:
        epochs: Passes over the data, shared by the two phases.
        batch_size: Points per step.
        learning_rate: Peak rate of the density phase; the manifold's is 4 times as high, or 0.3
            times for a rolled sheet.
        patience: Stop a phase after so many epochs without a better validation loss; by default a
            fifth of its epochs, but at least 25.
    """
    learn = max(epochs // 2, 1)
    common: dict[str, Any] = {"batch_size": batch_size, "patience": patience_for(patience, learn)}
    return [
        Phase(
            Reconstruction(),
            ("chart",),
            learn,
            name="manifold",
            learning_rate=4 * learning_rate,
            clip=0.1,
            start=place_chart,
            when=is_flat,
            **common,
        ),
        Phase(
            AnchoredReconstruction(),
            ("chart",),
            learn,
            name="unrolled manifold",
            learning_rate=0.3 * learning_rate,
            clip=0.1,
            start=unroll,
            when=is_rolled,
            **common,
        ),
        Phase(
            LatentNegativeLogLikelihood(),
            ("latent",),
            max(epochs - learn, 1),
            name="density",
            learning_rate=learning_rate,
            start=place_latent,
            **common,
        ),
    ]


def alternating(
    epochs: int = 50, *, batch_size: int = 100, learning_rate: float = 1e-3
) -> list[Alternate]:
    """Alternating M/D training (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 3.2).

    In turn an epoch of reconstruction that moves the chart and one of maximum likelihood that moves
    the density, each with its own optimiser and schedule. The manifold has to be a graph over some
    plane: rolled sheets are left to ``manifold_then_density``.

    Args:
        epochs: Passes over the data, shared by the two phases.
        batch_size: Points per step.
        learning_rate: Peak rate of the density phase; the manifold's is 4 times as high.
    """
    manifold, _, density = manifold_then_density(
        2, batch_size=batch_size, learning_rate=learning_rate
    )
    return [Alternate((replace(manifold, when=None), density), rounds=max(epochs // 2, 1))]


def scandal(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    weight: float = WEIGHT,
) -> list[Phase]:
    """Sequential M/D training whose density also learns from a simulator's joint score.

    The data need a ``joint_score``; the manifold must not depend on theta. See
    ``mflows.training.objectives.scandal``.

    Args:
        epochs: Passes over the data, shared by the two phases.
        batch_size: Points per step.
        learning_rate: As for ``manifold_then_density``.
        patience: As for ``manifold_then_density``.
        weight: Weight of the mean squared error of the score.
    """
    *manifold, density = manifold_then_density(
        epochs, batch_size=batch_size, learning_rate=learning_rate, patience=patience
    )
    return [*manifold, replace(density, objective=LatentScandal(weight))]
