"""Recipes that compare samples of the flow with data; they need no encoder."""

from dataclasses import replace

from mflows.training.objectives import Adversarial, SinkhornDivergence
from mflows.training.phases import Alternate, Phase
from mflows.training.recipes.phases import density_phase, likelihood_phase, share


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
    return [_transport(epochs, batch_size, learning_rate)]


def _transport(epochs: int, batch_size: int, learning_rate: float) -> Phase:
    objective = SinkhornDivergence()
    return likelihood_phase(objective, epochs, batch_size, 3 * learning_rate, name="transport")


def alternating_optimal_transport(
    epochs: int = 50, *, batch_size: int = 1000, learning_rate: float = 1e-3
) -> list[Alternate]:
    """In turn an epoch of optimal transport and one of maximum likelihood of the density alone.

    Args:
        epochs: Passes over the data, shared by the two phases.
        batch_size: Points per step of optimal transport; the density takes a tenth of it.
        learning_rate: Peak rate of the density; that of transport is 3 times as high.
    """
    density = density_phase(1, max(batch_size // 10, 1), learning_rate)
    turns = (_transport(1, batch_size, learning_rate), replace(density, start=None))
    return [Alternate(turns, rounds=share(epochs, 2))]


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
    phase = likelihood_phase(Adversarial(), epochs, batch_size, learning_rate, name="adversarial")
    return [replace(phase, trains=("chart",), momentum=0.0)]
