"""Recipes in which reconstruction and likelihood move chart and density together."""

from dataclasses import replace

from mflows.training.objectives.canonical import Canonical
from mflows.training.objectives.free_form import FreeForm
from mflows.training.objectives.likelihood import ReconstructionAndLikelihood
from mflows.training.objectives.relaxed_injective import RelaxedInjective
from mflows.training.phases import Phase
from mflows.training.recipes.in_turns import manifold_then_density
from mflows.training.recipes.likelihood import maximum_likelihood
from mflows.volume import Auto, ConjugateGradient


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
    third = max(epochs // 3, 1)
    manifold, _, density = manifold_then_density(
        2 * third, batch_size=batch_size, learning_rate=learning_rate
    )
    both = replace(
        density,
        objective=ReconstructionAndLikelihood(),
        trains=("chart", "latent"),
        name="manifold and density",
        clip=0.1,
    )
    return [
        replace(manifold, when=None),
        both,
        replace(density, epochs=max(epochs - 2 * third, 1), start=None),
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
    (phase,) = maximum_likelihood(epochs, batch_size=batch_size, learning_rate=learning_rate)
    volume = ConjugateGradient(probes) if probes else Auto()
    return [
        replace(
            phase,
            objective=ReconstructionAndLikelihood(weight, volume),
            name="manifold and density",
            clip=0.1,
            patience=None,
        )
    ]


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
    off-diagonal elements of the pullback metric penalised while chart and density move together.

    Args:
        epochs: Passes over the data, shared by the three phases.
        batch_size: Points per step.
        learning_rate: As for ``simultaneous``.
        weight: Weight of the reconstruction error.
        penalty: Weight of the sum of the absolute off-diagonal elements.
    """
    manifold, both, density = simultaneous(
        epochs, batch_size=batch_size, learning_rate=learning_rate
    )
    return [manifold, replace(both, objective=Canonical(weight, penalty)), density]


def free_form(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    weight: float = 1e3,
) -> list[Phase]:
    """Free networks by a surrogate of the log-volume's gradient.

    Free-form injective flows (Sorrenson et al. 2024, arXiv 2306.01843). A third of the epochs
    reconstruction alone, a third reconstruction and surrogate likelihood of chart and density
    together, a third the density with the manifold frozen.

    Args:
        epochs: Passes over the data, shared by the three phases.
        batch_size: Points per step.
        learning_rate: As for ``simultaneous``.
        weight: Weight of the reconstruction error in units of the data's variance.
    """
    manifold, both, density = simultaneous(
        epochs, batch_size=batch_size, learning_rate=learning_rate
    )
    return [manifold, replace(both, objective=FreeForm(weight)), density]


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
    manifold, both, density = simultaneous(
        epochs, batch_size=batch_size, learning_rate=learning_rate
    )
    both = replace(
        both,
        objective=RelaxedInjective(),
        epochs=both.epochs + density.epochs,
    )
    return [manifold, both]
