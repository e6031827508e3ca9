r"""Classifier two-sample test (Lopez-Paz & Oquab 2017, arXiv 1610.06545).

Train a classifier to tell two samples apart on one half of each, and test it on the other half. If
the samples have one distribution, its accuracy is 1/2 up to

    standard error^2 = (1/N + 1/M) / 16    (at most; N and M points tested),

from which follows the one-sided p-value. Cross-validation would test every point, but its folds
depend on each other: measured on equal normals, p < 0.05 then comes twice as often as it should.
Points are taken as independent: thin a Markov chain first.
"""

import numpy as np
from jaxtyping import ArrayLike
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split

_FEWEST = 10


def two_sample_test(
    samples: ArrayLike, reference: ArrayLike, *, classifier=None, seed: int = 0
) -> dict[str, float]:
    """Accuracy (mean of both classes) and AUC of a classifier; both 1/2 for equal distributions.

    Args:
        samples: One sample, shape (N, D).
        reference: The other, shape (M, D).
        classifier: A scikit-learn classifier with ``predict_proba``; by default gradient boosted
            trees, which need no scaling. It sets the power of the test, not its validity.
        seed: Seed of the halves and of the default classifier.

    Raises:
        ValueError: For other shapes, or fewer than ten points in a sample.
    """
    x, y = np.asarray(samples), np.asarray(reference)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < _FEWEST:
        raise ValueError(
            f"Expected two samples of shapes (N, D) and (M, D), {_FEWEST} points or more in each; "
            f"got {x.shape} and {y.shape}."
        )
    if classifier is None:
        classifier = HistGradientBoostingClassifier(class_weight="balanced", random_state=seed)
    label = np.repeat([0, 1], [len(x), len(y)])
    points, held_out, learned, label = train_test_split(
        np.concatenate((x, y)), label, test_size=0.5, stratify=label, random_state=seed
    )
    score = classifier.fit(points, learned).predict_proba(held_out)[:, 1]
    accuracy = balanced_accuracy_score(label, score > 0.5)
    error = np.sqrt((1 / np.bincount(label)).sum() / 16)
    return {
        "c2st_accuracy": float(accuracy),
        "c2st_accuracy_error": float(error),
        "c2st_auc": float(roc_auc_score(label, score)),
        "c2st_p": float(norm.sf((accuracy - 0.5) / error)),
    }
