"""Recipes that maximise a likelihood, or a bound of one, and nothing besides."""

from mflows.training.objectives import (
    NegativeEvidenceLowerBound,
    NegativeLogLikelihood,
    NoisyLikelihood,
    Scandal,
)
from mflows.training.objectives.scandal import WEIGHT
from mflows.training.phases import Phase
from mflows.training.recipes.phases import likelihood_phase, patience_for


def maximum_likelihood(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
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
        tolerance: End, after the rate has fallen to 0, once the validation loss has settled to so
            many nats (``mflows.training.Phase``); 0 trains all epochs.
    """
    patience = patience_for(patience, epochs)
    objective = NegativeLogLikelihood()
    return [likelihood_phase(objective, epochs, batch_size, learning_rate, patience, tolerance)]


def scandal_likelihood(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
    weight: float = WEIGHT,
) -> list[Phase]:
    """Maximum likelihood of a density in space that also learns from a simulator's joint score.

    The data need a ``joint_score``. ``weight`` is that of the mean squared error of the score (see
    ``mflows.training.objectives.scandal``). Other arguments as for ``maximum_likelihood``.
    """
    patience = patience_for(patience, epochs)
    objective = Scandal(weight)
    return [likelihood_phase(objective, epochs, batch_size, learning_rate, patience, tolerance)]


def denoising(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
    sigma: float = 0.05,
) -> list[Phase]:
    """An ambient flow of noisy data, from which the density on a manifold can be read.

    Horvat & Pfister 2021 (arXiv 2105.12152); ``mflows.training.deflated_log_prob`` reads it.
    ``sigma`` is the standard deviation of the noise, in the data's own units: small against the
    manifold's curvature, large enough for a smooth density to follow. Other arguments as for
    ``maximum_likelihood``.
    """
    patience = patience_for(patience, epochs)
    objective = NoisyLikelihood(sigma)
    return [likelihood_phase(objective, epochs, batch_size, learning_rate, patience, tolerance)]


def variational(
    epochs: int = 50,
    *,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
) -> list[Phase]:
    """Maximise the evidence lower bound of a VAE (Kingma & Welling 2014, arXiv 1312.6114).

    Arguments as for ``maximum_likelihood``.
    """
    patience = patience_for(patience, epochs)
    phase = likelihood_phase(
        NegativeEvidenceLowerBound(),
        epochs,
        batch_size,
        learning_rate,
        patience,
        tolerance,
        name="evidence",
    )
    return [phase]
