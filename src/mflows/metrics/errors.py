"""Errors of a flow: off the data, off the true manifold, off the true density, and its outliers."""

import numpy as np
from jaxtyping import ArrayLike
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from mflows.charts import condition_for
from mflows.data import Data
from mflows.flow import Flow
from mflows.simulators import HasDistance, HasLogProb


def reconstruction_error(flow: Flow, data: Data) -> dict[str, float]:
    """Mean, 99% quantile and maximum of the distance of ``data`` to their projections.

    A maximum far above the mean tells of a fold or a tear in the learned manifold.
    """
    distance = np.asarray(flow.distance(data.x, condition_for(flow, data.condition)))
    return {
        "reconstruction": float(distance.mean()),
        "reconstruction_q99": float(np.quantile(distance, 0.99)),
        "reconstruction_max": float(distance.max()),
    }


def sample_distance(samples: ArrayLike, simulator: HasDistance) -> dict[str, float]:
    """Mean and maximum distance of ``samples`` (N, D) to their nearest points of the manifold."""
    distance = np.asarray(simulator.distance(samples))
    return {
        "sample_distance": float(distance.mean()),
        "sample_distance_max": float(distance.max()),
    }


def log_density_error(flow: Flow, data: Data, simulator: HasLogProb) -> dict[str, float]:
    """Mean and standard deviation over ``data`` of true minus model log-density, in nats.

    On points drawn from the truth the mean is the Kullback-Leibler divergence from the truth to
    the model, up to the distance between the two manifolds.
    """
    if data.condition is None:
        raise ValueError("Expected data with the condition theta that the true density needs.")
    truth = np.asarray(simulator.log_prob(data.x, data.condition))
    error = truth - np.asarray(flow.log_prob(data.x, condition_for(flow, data.condition)))
    return {"log_density_gap": float(error.mean()), "log_density_std": float(error.std())}


def outlier_score(log_prob: ArrayLike, distance: ArrayLike, variance: float) -> np.ndarray:
    """Score of points by both where and how far from the manifold they are, larger for outliers.

        d^2 / 2 v - log p

    It takes deviations from the manifold for isotropic noise of variance v.

    Args:
        log_prob: Log-densities on the manifold, shape (N,).
        distance: Distances d to it, shape (N,).
        variance: v > 0, for example the mean of d^2 / (D - n) of training points.
    """
    log_prob, distance = (np.asarray(each, np.float64) for each in (log_prob, distance))
    return distance**2 / (2 * variance) - log_prob


def outlier_auc(inliers: ArrayLike, outliers: ArrayLike) -> dict[str, float]:
    """Area under the ROC curve of a score that should be *larger* for outliers.

    Only the order of scores counts, so they may be infinite. One that is not a number counts as the
    largest: a point that a model cannot score is one to look at.

    Args:
        inliers: Scores of points from the training distribution, shape (N,).
        outliers: Scores of other points, shape (M,).
    """
    scores = np.concatenate((np.asarray(inliers), np.asarray(outliers)))
    labels = np.arange(len(scores)) >= len(np.asarray(inliers))
    ranks = rankdata(np.where(np.isnan(scores), np.inf, scores))
    return {"outlier_auc": float(roc_auc_score(labels, ranks))}
