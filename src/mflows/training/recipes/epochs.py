"""How long a recipe trains where nobody says, and when its phases give up."""

EPOCHS, MOST_EPOCHS = 25, 1000
LEAST_STEPS, MOST_STEPS = 5000, 200_000


def epochs_for(points: int, batch_size: int = 100) -> int:
    """Epochs that are enough for a recipe when none are asked for.

    The published 25 epochs for each of two phases; small data get more, for about 5,000 steps per
    phase, but at most 1,000 epochs; large data fewer, for at most 200,000 steps per phase.

    Args:
        points: Number of training points.
        batch_size: Points per step.
    """
    steps = max(points // batch_size, 1)
    fewest, most = min(-(-LEAST_STEPS // steps), MOST_EPOCHS), max(MOST_STEPS // steps, 1)
    return 2 * min(max(EPOCHS, fewest), most)


def patience_for(given: int | None, epochs: int) -> int:
    """The patience asked for, or a fifth of a phase's epochs, but at least 25."""
    return max(epochs // 5, 25) if given is None else given
