"""How well a score tells outliers from inliers."""

import numpy as np
from jaxtyping import ArrayLike
from sklearn.metrics import roc_auc_score


def outlier_auc(inliers: ArrayLike, outliers: ArrayLike) -> dict[str, float]:
    """Area under the ROC curve of a score that should be *larger* for outliers.

    Args:
        inliers: Scores of points from the training distribution, shape (N,).
        outliers: Scores of other points, shape (M,).
    """
    inliers, outliers = np.asarray(inliers), np.asarray(outliers)
    labels = np.concatenate((np.zeros(len(inliers)), np.ones(len(outliers))))
    return {"outlier_auc": float(roc_auc_score(labels, np.concatenate((inliers, outliers))))}
