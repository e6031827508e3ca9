"""The phases of which recipes are composed, and how long they last.

A phase takes the epochs, points per step and peak learning rate that are its own; recipes scale
the ones they are given. All stop early after ``patience`` epochs without a better validation loss,
``None`` never.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mflows.training.objectives import (
    AnchoredReconstruction,
    LatentNegativeLogLikelihood,
    Reconstruction,
)
from mflows.training.phases import Either, Phase
from mflows.training.starts import flat_or_rolled, place_chart, place_latent, unroll

EPOCHS, MOST_EPOCHS = 25, 1000
LEAST_STEPS, MOST_STEPS = 5000, 200_000
PATIENCE = 4
"""So many times more epochs are given to phases that patience ends."""
MOST_WORK = 20_000_000_000
"""Steps times parameters of a training whose length is not asked for: 400 steps of 50 million."""
TOLERANCE = 0.005
"""Improvement, in nats, that is worth going on for where no number of epochs is asked for."""
SQUARES = 0.01
"""Tolerance of a reconstruction error, in the data's variance, for one of a density in nats."""


def manifold_phase(
    epochs: int,
    batch_size: int = 100,
    learning_rate: float = 4e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
) -> Phase:
    """The chart by reconstruction, from the best starting plane.

    For data that are a graph over some plane: bold steps of a clipped gradient. A ``tolerance`` in
    nats becomes ``SQUARES`` times as much of the data's variance.
    """
    return Phase(
        Reconstruction(),
        ("chart",),
        epochs,
        name="manifold",
        batch_size=batch_size,
        learning_rate=learning_rate,
        clip=0.1,
        patience=patience,
        tolerance=SQUARES * tolerance,
        start=place_chart,
    )


def unrolled_manifold_phase(
    epochs: int, batch_size: int = 100, learning_rate: float = 3e-4, patience: int | None = None
) -> Phase:
    """The chart by reconstruction, for a rolled sheet that is unrolled first.

    Its steps are careful, and the coordinates that unrolling gave the data are held on to. The
    chart has to be placed before (``mflows.training.starts.place_chart``).
    """
    phase = manifold_phase(epochs, batch_size, learning_rate, patience)
    objective = AnchoredReconstruction()
    return replace(phase, objective=objective, name="unrolled manifold", start=unroll)


def flat_or_unrolled_manifold(
    epochs: int,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
) -> Either:
    """``manifold_phase`` or ``unrolled_manifold_phase``, as the data decide.

    The first learns at 4 times the ``learning_rate``, the second at 0.3 times. With a ``tolerance``
    the first ends once it has settled, and the second after a quarter of the epochs.
    """
    flat = manifold_phase(epochs, batch_size, 4 * learning_rate, patience, tolerance)
    if tolerance:
        epochs = max(epochs // PATIENCE, 1)
    unrolled = unrolled_manifold_phase(epochs, batch_size, 0.3 * learning_rate, patience)
    return Either((flat, unrolled), flat_or_rolled)


def density_phase(
    epochs: int,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
    *,
    objective: Callable | None = None,
) -> Phase:
    """The latent density by maximum likelihood, the manifold frozen.

    ``objective`` is another one than ``LatentNegativeLogLikelihood``.
    """
    return Phase(
        LatentNegativeLogLikelihood() if objective is None else objective,
        ("latent",),
        epochs,
        name="density",
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        tolerance=tolerance,
        start=place_latent,
    )


def joint_phase(
    objective: Callable,
    epochs: int,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
) -> Phase:
    """Chart and density together, by reconstruction and likelihood or what ``objective`` adds.

    The density starts on the encoded data.
    """
    phase = likelihood_phase(objective, epochs, batch_size, learning_rate, patience)
    return replace(phase, name="manifold and density", clip=0.1, start=place_latent)


def likelihood_phase(
    objective: Callable,
    epochs: int,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    tolerance: float = 0.0,
    *,
    name: str = "density",
) -> Phase:
    """Chart and density together by a likelihood alone, or a bound of one."""
    return Phase(
        objective,
        ("chart", "latent"),
        epochs,
        name=name,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        tolerance=tolerance,
        start=place_chart,
    )


def epochs_for(
    points: int, batch_size: int = 100, parameters: int = 0, *, patient: bool = False
) -> int:
    """Epochs that are enough for a recipe when none are asked for.

    The published 25 epochs for each of two phases; small data get more, for about 5,000 steps per
    phase, but at most 1,000 epochs; large data fewer, for at most 200,000 steps per phase; large
    flows fewer, for at most 2e10 steps times parameters. Phases that patience ends may take 4 times
    as many.

    Args:
        points: Number of training points.
        batch_size: Points per step.
        parameters: Number of parameters of the flow, if it may be large.
        patient: Whether phases end once their loss has settled.
    """
    steps = max(points // batch_size, 1)
    most_steps = min(MOST_STEPS, MOST_WORK // (2 * max(parameters, 1)))
    enough = max(EPOCHS, -(-LEAST_STEPS // steps)) * (PATIENCE if patient else 1)
    return 2 * min(enough, MOST_EPOCHS, max(most_steps // steps, 1))


def share(epochs: int, parts: int) -> int:
    """Epochs of one of so many parts of a training, at least 1; ``ValueError`` for none."""
    if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 1:
        raise ValueError(f"Expected epochs to be a whole number >= 1; got {epochs!r}.")
    return max(int(epochs) // parts, 1)


def patience_for(given: int | None, epochs: int) -> int:
    """The patience asked for, or a fifth of a phase's epochs, but at least 25."""
    return max(epochs // 5, 25) if given is None else given
