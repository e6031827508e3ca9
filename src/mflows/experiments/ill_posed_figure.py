"""The figure of the experiment on maximum likelihood alone: manifolds, likelihoods, errors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

COLOURS = ("#0b6e99", "#c0392b")


class Training(NamedTuple):
    """How one training went.

    Args:
        curve: Points along the learned curve, shape (K, 2), over the coordinates of the data; it
            is drawn with a dot at its first, without which a collapsed curve would not be seen.
        nll: Mean negative log-likelihood after every epoch, nats.
        error: Mean reconstruction error after every epoch.
    """

    curve: np.ndarray
    nll: Sequence[float]
    error: Sequence[float]


def draw(
    path: Path,
    *,
    x: np.ndarray,
    family: Mapping[float, tuple[float, float]],
    trained: Mapping[str, Sequence[Training]],
    truth: float,
) -> None:
    """Write the figure, in the format of the file's suffix.

    Args:
        path: File to write.
        x: Data, shape (N, 2).
        family: Radius of a circle -> its negative log-likelihood and its reconstruction error.
        trained: Name of a way to train -> its trainings, one for each seed.
        truth: Negative log-likelihood of the true density.
    """
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    known, learned, likelihood, error = figure.subplots(1, 4)
    radii = np.array(list(family))
    values, errors = np.array(list(family.values())).T
    known.plot(radii, values, color=COLOURS[1], label="-log p (nats)")
    known.plot(radii, errors, color=COLOURS[0], label="reconstruction error")
    known.axvline(1, color="0.6", linestyle=":")
    known.set(xlabel="radius of the circle", title="A family of manifolds")
    known.legend(frameon=False)
    learned.plot(*x.T, ".", color="0.75", markersize=2, zorder=0)
    for colour, (name, trainings) in zip(COLOURS, trained.items(), strict=False):
        for number, training in enumerate(trainings):
            label = name if number == 0 else None
            learned.plot(*training.curve.T, color=colour, linewidth=1, label=label)
            learned.plot(*training.curve[:1].T, "o", color=colour, markersize=3)
            likelihood.plot(1 + np.arange(len(training.nll)), training.nll, color=colour)
            error.plot(1 + np.arange(len(training.error)), training.error, color=colour)
    learned.set(title="Where the data are projected to")
    learned.set_aspect("equal", adjustable="datalim")
    learned.legend(frameon=False, loc="upper left")
    likelihood.axhline(truth, color="0.6", linestyle=":")
    likelihood.set(xlabel="epoch", title="-log p of test points (nats)")
    error.set(xlabel="epoch", title="Reconstruction error", yscale="log")
    figure.savefig(path)
