"""Distances by features against closed forms and SciPy."""

import numpy as np
import pytest
import scipy.linalg

from mflows.metrics import frechet_distance, kernel_distance

RNG = np.random.default_rng(0)


def exact(mean, covariance, size):
    """Points whose sample mean and covariance are these to rounding."""
    z = RNG.normal(size=(size, len(mean)))
    z = np.linalg.qr(z - z.mean(0))[0] * np.sqrt(size - 1)
    return mean + z @ np.linalg.cholesky(covariance).T


def test_of_normals_it_has_the_closed_form():
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.25])
    shift = np.array([1.0, -2.0, 2.0])
    x, y = (exact(m, turn * s @ turn.T, 50) for m, s in ((np.zeros(3), a), (shift, b)))
    expected = 9 + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet_distance(x, y)["frechet_distance"] == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(x, x + 100)["frechet_distance"] == pytest.approx(30_000, rel=1e-12)
    assert frechet_distance(x, x)["frechet_distance"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(200, 150), (12, 9), (12, 200)])
def test_is_that_of_the_matrix_root(n, m):
    x = np.maximum(RNG.normal(size=(n, 20)), 0)
    y = np.maximum(1.2 * RNG.normal(size=(m, 20)) + 0.3, 0)
    s_x, s_y = np.cov(x.T), np.cov(y.T)
    # Eigenvalues of a product of singular matrices come with a rounding error under their root.
    nudge = 1e-9 * np.eye(20)
    root = np.trace(scipy.linalg.sqrtm((s_x + nudge) @ (s_y + nudge)).real)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s_x + s_y) - 2 * root
    assert frechet_distance(x, y)["frechet_distance"] == pytest.approx(expected, rel=1e-4)


def test_kernel_distance_is_the_mean_over_pairs_of_different_points():
    x, y = RNG.normal(size=(7, 4)), RNG.normal(size=(5, 4)) + 0.5

    def mean(a, b):
        pairs = [(p, q) for p in a for q in b if p is not q]
        return np.mean([(p @ q / 4 + 1) ** 3 for p, q in pairs])

    x, y = list(x), list(y)
    expected = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert kernel_distance(x, y)["kernel_distance"] == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_is_unbiased_where_the_other_is_not():
    pairs = [RNG.normal(size=(2, 20, 5)) for _ in range(300)]
    kernel = [kernel_distance(*pair)["kernel_distance"] for pair in pairs]
    assert abs(np.mean(kernel)) < 3 * np.std(kernel) / np.sqrt(300)
    assert np.mean([frechet_distance(*pair)["frechet_distance"] for pair in pairs]) > 0.5


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_errors_say_what_to_do(distance):
    with pytest.raises(ValueError, match=r"shapes \(N, D\) and \(M, D\).*got \(4,\) and \(4, 1\)"):
        distance(np.zeros(4), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="two points or more"):
        distance(np.zeros((1, 2)), np.zeros((4, 2)))
