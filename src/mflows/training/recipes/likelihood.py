"""Recipes that maximise a likelihood, or a bound of one, and nothing besides."""

from mflows.training.objectives.denoising import NoisyLikelihood
from mflows.training.objectives.likelihood import NegativeLogLikelihood
from mflows.training.objectives.variational import NegativeEvidenceLowerBound
from mflows.training.phases import Phase
from mflows.training.recipes.phases import likelihood_phase, patience_for


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
        likelihood_phase(
            NegativeLogLikelihood(),
            epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience_for(patience, epochs),
        )
    ]


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
    return [
        likelihood_phase(
            NoisyLikelihood(sigma),
            epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience_for(patience, epochs),
        )
    ]


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
    return [
        likelihood_phase(
            NegativeEvidenceLowerBound(),
            epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience_for(patience, epochs),
            name="evidence",
        )
    ]
