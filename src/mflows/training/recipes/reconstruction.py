"""Recipes that learn the manifold by reconstruction and the density by likelihood.

First the one and then the other, in turns, or together.
"""

from collections.abc import Callable
from dataclasses import replace

from mflows.training.objectives import (
    Canonical,
    FreeForm,
    LatentNegativeLogLikelihood,
    LatentScandal,
    ReconstructionAndLikelihood,
    RelaxedInjective,
)
from mflows.training.objectives.scandal import WEIGHT
from mflows.training.phases import Alternate, Either, Phase
from mflows.training.recipes.phases import (
    density_phase,
    flat_or_unrolled_manifold,
    joint_phase,
    manifold_phase,
    patience_for,
    share,
)
from mflows.training.starts import place_chart
from mflows.volume import Auto, ConjugateGradient


def manifold_then_density(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
) -> list[Phase | Either]:
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
        tolerance: End a phase, after its rate has fallen to 0, once its validation loss has settled
            to so many nats (``mflows.training.Phase``); 0 trains all epochs.
    """
    objective = LatentNegativeLogLikelihood()
    return _one_then_the_other(objective, epochs, batch_size, learning_rate, patience, tolerance)


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
    manifold = manifold_phase(1, batch_size, 4 * learning_rate)
    density = density_phase(1, batch_size, learning_rate)
    return [Alternate((manifold, density), rounds=share(epochs, 2))]


def scandal(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
    weight: float = WEIGHT,
) -> list[Phase | Either]:
    """Sequential M/D training whose density also learns from a simulator's joint score.

    The data need a ``joint_score``; the manifold must not depend on theta. ``weight`` is that of
    the mean squared error of the score (see ``mflows.training.objectives.scandal``). Other
    arguments as for ``manifold_then_density``.
    """
    objective = LatentScandal(weight)
    return _one_then_the_other(objective, epochs, batch_size, learning_rate, patience, tolerance)


def simultaneous(
    epochs: int = 50, *, batch_size: int = 100, learning_rate: float = 1e-3
) -> list[Phase]:
    """Simultaneous training of manifold and density (Brehmer & Cranmer 2020, sec. 3.2).

    A third of the epochs reconstruction alone, a third reconstruction and the exact likelihood of
    chart and density together, a third the density with the manifold frozen. The middle third
    differentiates the log-volume, so that it takes longer than the others. As in ``alternating``,
    the manifold has to be a graph over some plane.

    Args:
        epochs: Passes over the data, shared by the three phases.
        batch_size: Points per step.
        learning_rate: Peak rate of the last two phases; the first one's is 4 times as high.
    """
    return _in_thirds(ReconstructionAndLikelihood(), epochs, batch_size, learning_rate)


def canonical(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    weight: float = 1e5,
    penalty: float = 1.0,
) -> list[Phase]:
    """Simultaneous training that makes the coordinates orthogonal.

    Canonical flows (Flouris & Konukoglu 2023, arXiv 2310.12743). As ``simultaneous``, with the
    off-diagonal elements of the pullback metric penalised while chart and density move together:
    ``weight`` is that of the reconstruction error, ``penalty`` that of the sum of the absolute
    elements. Other arguments as for ``simultaneous``.
    """
    return _in_thirds(Canonical(weight, penalty), epochs, batch_size, learning_rate)


def free_form(
    epochs: int = 50, *, batch_size: int = 100, learning_rate: float = 1e-3, weight: float = 1e3
) -> list[Phase]:
    """Free networks by a surrogate of the log-volume's gradient.

    Free-form injective flows (Sorrenson et al. 2024, arXiv 2306.01843). A third of the epochs
    reconstruction alone, a third reconstruction and surrogate likelihood of chart and density
    together, a third the density with the manifold frozen. ``weight`` is that of the reconstruction
    error in units of the data's variance. Other arguments as for ``simultaneous``.
    """
    return _in_thirds(FreeForm(weight), epochs, batch_size, learning_rate)


def _one_then_the_other(
    objective: Callable,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    patience: int | None,
    tolerance: float,
) -> list[Phase | Either]:
    """The manifold, then the density on it by ``objective``."""
    learn = share(epochs, 2)
    patience = patience_for(patience, learn)
    rest = max(epochs - learn, 1)
    return [
        flat_or_unrolled_manifold(learn, batch_size, learning_rate, patience, tolerance),
        density_phase(rest, batch_size, learning_rate, patience, tolerance, objective=objective),
    ]


def _in_thirds(
    objective: Callable, epochs: int, batch_size: int, learning_rate: float
) -> list[Phase]:
    """The manifold alone, manifold and density together, and the density alone."""
    third = share(epochs, 3)
    patience = patience_for(None, third)
    density = density_phase(max(epochs - 2 * third, 1), batch_size, learning_rate, patience)
    return [
        manifold_phase(third, batch_size, 4 * learning_rate, patience),
        joint_phase(objective, third, batch_size, learning_rate, patience),
        replace(density, start=None),
    ]


def relaxed_injective(
    epochs: int = 50, *, batch_size: int = 100, learning_rate: float = 1e-3
) -> list[Phase]:
    """Relaxed injective probability flows (Kumar et al. 2020, arXiv 2002.08927).

    A third of the epochs reconstruction alone, then reconstruction and the stochastic lower bound
    of the likelihood, for chart and density together.

    Args:
        epochs: Passes over the data, shared by the two phases.
        batch_size: Points per step.
        learning_rate: Peak rate of the second phase; the first one's is 4 times as high.
    """
    third = share(epochs, 3)
    patience = patience_for(None, third)
    rest = third + max(epochs - 2 * third, 1)
    return [
        manifold_phase(third, batch_size, 4 * learning_rate, patience),
        joint_phase(RelaxedInjective(), rest, batch_size, learning_rate, patience),
    ]


def rectangular(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    weight: float = 1e4,
    probes: int = 0,
) -> list[Phase]:
    """Reconstruction and likelihood together from the start.

    Rectangular flows (Caterini et al. 2021, arXiv 2106.01413). Chart and density see both terms in
    every step, so that the density can move the coordinates, and every step differentiates the
    log-volume.

    Args:
        epochs: Passes over the data.
        batch_size: Points per step.
        learning_rate: Peak learning rate.
        weight: Weight of the reconstruction error in units of the data's variance.
        probes: Probes per point of conjugate gradients; 0 is exact, and faster up to n = 64.
    """
    objective = ReconstructionAndLikelihood(weight, ConjugateGradient(probes) if probes else Auto())
    phase = joint_phase(objective, epochs, batch_size, learning_rate)
    return [replace(phase, start=place_chart)]
