"""Error of the log-density on the manifold, where a simulator knows the true one."""

import numpy as np

from mflows.data import Data
from mflows.flow import Flow
from mflows.simulators import HasLogProb


def log_density_error(flow: Flow, data: Data, simulator: HasLogProb) -> dict[str, float]:
    """Mean and standard deviation over ``data`` of true minus model log-density, in nats.

    On points drawn from the truth the mean is the Kullback-Leibler divergence from the truth to
    the model, up to the distance between the two manifolds.
    """
    if data.condition is None:
        raise ValueError("Expected data with the condition theta that the true density needs.")
    truth = np.asarray(simulator.log_prob(data.x, data.condition))
    error = truth - np.asarray(flow.log_prob(data.x, data.condition))
    return {"log_density_gap": float(error.mean()), "log_density_std": float(error.std())}
