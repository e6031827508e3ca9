"""Distance of a flow's samples to the true manifold, where a simulator knows it."""

import numpy as np
from jaxtyping import ArrayLike

from mflows.simulators import HasDistance


def sample_distance(samples: ArrayLike, simulator: HasDistance) -> dict[str, float]:
    """Mean and maximum distance of ``samples`` (N, D) to their nearest points of the manifold."""
    distance = np.asarray(simulator.distance(samples))
    return {
        "sample_distance": float(distance.mean()),
        "sample_distance_max": float(distance.max()),
    }
