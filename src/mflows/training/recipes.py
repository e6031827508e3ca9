"""Recipes: functions that return lists of phases, ready for ``fit``."""

from dataclasses import replace
from typing import Any

from mflows.training.adversarial import Adversarial
from mflows.training.canonical import Canonical
from mflows.training.denoising import NoisyLikelihood
from mflows.training.free_form import FreeForm
from mflows.training.objectives import (
    AnchoredReconstruction,
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Reconstruction,
    ReconstructionAndLikelihood,
)
from mflows.training.phase import Alternate, Phase
from mflows.training.relaxed_injective import RelaxedInjective
from mflows.training.scandal import WEIGHT, LatentScandal
from mflows.training.start import is_flat, is_rolled, place_chart, place_latent, unroll
from mflows.training.transport import SinkhornDivergence
from mflows.training.variational import NegativeEvidenceLowerBound
from mflows.volume import Auto, ConjugateGradient

LEAST_EPOCHS, MOST_EPOCHS, STEPS = 25, 1000, 5000


def epochs_for(points: int, batch_size: int = 100) -> int:
    """Epochs that are enough for a recipe when none are asked for.

    The published 25 epochs for each of two phases; small data get more, for about 5,000 steps per
    phase, but at most 1,000 epochs.

    Args:
        points: Number of training points.
        batch_size: Points per step.
    """
    steps = max(points // batch_size, 1)
    return 2 * min(max(LEAST_EPOCHS, -(-STEPS // steps)), MOST_EPOCHS)


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
    common: dict[str, Any] = {"batch_size": batch_size, "patience": _patience(patience, learn)}
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
    ``mflows.training.scandal``.

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


def optimal_transport(
    epochs: int = 50, *, batch_size: int = 1000, learning_rate: float = 1e-3
) -> list[Phase]:
    """Chart and density together by optimal transport (Brehmer & Cranmer 2020, sec. 3.2).

    Minimises the Sinkhorn divergence between samples of the flow and data; needs neither encoder
    nor likelihood, but large batches. The manifold comes out less sharp than by reconstruction.

    Args:
        epochs: Passes over the data.
        batch_size: Points per step, and samples compared with them.
        learning_rate: A third of the peak rate.
    """
    return [
        Phase(
            SinkhornDivergence(),
            ("chart", "latent"),
            epochs,
            name="transport",
            batch_size=batch_size,
            learning_rate=3 * learning_rate,
            start=place_chart,
        )
    ]


def alternating_optimal_transport(
    epochs: int = 50, *, batch_size: int = 1000, learning_rate: float = 1e-3
) -> list[Alternate]:
    """In turn an epoch of optimal transport and one of maximum likelihood of the density alone.

    Args:
        epochs: Passes over the data, shared by the two phases.
        batch_size: Points per step of optimal transport; the density takes a tenth of it.
        learning_rate: Peak rate of the density; that of transport is 3 times as high.
    """
    (transport,) = optimal_transport(2, batch_size=batch_size, learning_rate=learning_rate)
    density = manifold_then_density(
        2, batch_size=max(batch_size // 10, 1), learning_rate=learning_rate
    )[-1]
    turns = (replace(transport, epochs=1), replace(density, start=None))
    return [Alternate(turns, rounds=max(epochs // 2, 1))]


def _patience(given: int | None, epochs: int) -> int:
    return max(epochs // 5, 25) if given is None else given


def maximum_likelihood(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
) -> list[Phase]:
    """Maximise the likelihood of chart and latent density together.

    The recipe for ambient flows (n = D) and prescribed manifolds. On a *learned* manifold with
    n < D it is ill-posed: many manifolds fit equally well or better than the data's own. It is
    there to show that (``mflows experiment ill-posed-likelihood``).

    Args:
        epochs: Passes over the data.
        batch_size: Points per step.
        learning_rate: Peak learning rate.
        patience: Stop after so many epochs without a better validation loss; by default a fifth of
            ``epochs``, but at least 25.
    """
    return [
        Phase(
            NegativeLogLikelihood(),
            ("chart", "latent"),
            epochs,
            name="density",
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=_patience(patience, epochs),
            start=place_chart,
        )
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
    manifold, both, density = simultaneous(
        epochs, batch_size=batch_size, learning_rate=learning_rate
    )
    both = replace(
        both,
        objective=RelaxedInjective(),
        epochs=both.epochs + density.epochs,
    )
    return [manifold, both]


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


def denoising(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    sigma: float = 0.05,
) -> list[Phase]:
    """An ambient flow of noisy data, from which the density on a manifold can be read.

    Horvat & Pfister 2021 (arXiv 2105.12152); ``mflows.training.deflated_log_prob`` reads it.

    Args:
        epochs: Passes over the data.
        batch_size: Points per step.
        learning_rate: Peak learning rate.
        patience: As for ``maximum_likelihood``.
        sigma: Standard deviation of the noise, in the data's own units: small against the
            manifold's curvature, large enough for a smooth density to follow.
    """
    (phase,) = maximum_likelihood(
        epochs, batch_size=batch_size, learning_rate=learning_rate, patience=patience
    )
    return [replace(phase, objective=NoisyLikelihood(sigma))]


def variational(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
) -> list[Phase]:
    """Maximise the evidence lower bound of a VAE (Kingma & Welling 2014, arXiv 1312.6114).

    Args:
        epochs: Passes over the data.
        batch_size: Points per step.
        learning_rate: Peak learning rate.
        patience: Stop after so many epochs without a better validation loss; by default a fifth of
            ``epochs``, but at least 25.
    """
    (phase,) = maximum_likelihood(
        epochs, batch_size=batch_size, learning_rate=learning_rate, patience=patience
    )
    return [replace(phase, objective=NegativeEvidenceLowerBound(), name="evidence")]


def adversarial(
    epochs: int = 50, *, batch_size: int = 100, learning_rate: float = 1e-3
) -> list[Phase]:
    """Train a generator against a critic (Gulrajani et al. 2017, arXiv 1704.00028).

    Both move at every step. The generator kept is the one of the epoch whose samples had the
    least energy distance to the held-out data.

    Args:
        epochs: Passes over the data.
        batch_size: Points per step.
        learning_rate: Peak learning rate of generator and critic.
    """
    return [
        Phase(
            Adversarial(),
            ("chart",),
            epochs,
            name="adversarial",
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=0.0,
            start=place_chart,
        )
    ]
