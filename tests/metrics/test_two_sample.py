import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from mflows.metrics import two_sample_test

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 3000, 2))


def test_best_classifier_of_two_normals():
    """It is linear, with accuracy Phi(shift / 2) and AUC Phi(shift / sqrt 2)."""
    found = two_sample_test(X[:2000], Y + np.array([1.0, 0.0]), classifier=LogisticRegression())
    # Unequal sizes move the threshold of this classifier, which the balanced accuracy forgives.
    assert found["c2st_accuracy"] == pytest.approx(norm.cdf(0.5), abs=0.025)
    assert found["c2st_auc"] == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.02)
    assert found["c2st_p"] < 1e-10
    assert found["c2st_accuracy_error"] == pytest.approx(np.sqrt((1 / 1000 + 1 / 1500) / 16))


def test_default_finds_what_no_mean_or_variance_shows():
    correlated = Y @ np.linalg.cholesky([[1, 0.8], [0.8, 1]]).T
    assert two_sample_test(X[:1000], Y[:1000])["c2st_p"] > 0.01
    assert two_sample_test(X[:1000], correlated[:1000])["c2st_p"] < 1e-6


def test_is_as_often_significant_as_it_says():
    """Under equal distributions p < 0.1 in a tenth of all cases."""
    rng = np.random.default_rng(1)
    classifier = LogisticRegression()
    p = [
        two_sample_test(*rng.normal(size=(2, 100, 2)), classifier=classifier)["c2st_p"]
        for _ in range(200)
    ]
    assert 8 <= sum(np.array(p) < 0.1) <= 32  # 20 expected, with standard deviation 4.2


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"got \(3000, 2\) and \(3000, 1\)"):
        two_sample_test(X, Y[:, :1])
    with pytest.raises(ValueError, match="10 points or more"):
        two_sample_test(X, Y[:4])
