"""Reconstruction error |x - g(e(x))| of held-out points, in the data's units."""

import numpy as np

from mflows.data import Data
from mflows.flow import Flow


def reconstruction_error(flow: Flow, data: Data) -> dict[str, float]:
    """Mean, 99% quantile and maximum of the distance of ``data`` to their projections.

    A maximum far above the mean tells of a fold or a tear in the learned manifold.
    """
    distance = np.asarray(flow.distance(data.x, data.condition))
    return {
        "reconstruction": float(distance.mean()),
        "reconstruction_q99": float(np.quantile(distance, 0.99)),
        "reconstruction_max": float(distance.max()),
    }
