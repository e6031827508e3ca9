import numpy as np
import pytest

from mflows.metrics import mmd


def test_two_normals_have_the_closed_form():
    """E k(x, y) of normals of variance s^2 in D dimensions is a normal integral."""
    rng = np.random.default_rng(0)
    shift, h, dim = np.array([1.0, 0.0]), 1.5, 2
    peak = (h**2 / (h**2 + 2)) ** (dim / 2)
    expected = 2 * peak * (1 - np.exp(-1 / (2 * (h**2 + 2))))
    estimates = [
        mmd(rng.normal(size=(150, dim)), rng.normal(size=(200, dim)) + shift, bandwidth=h)["mmd2"]
        for _ in range(200)
    ]
    error = np.std(estimates) / np.sqrt(200)
    assert abs(np.mean(estimates) - expected) < 3 * error
    assert error < 0.03 * expected


def test_blocks_cover_every_pair():
    x, y = np.random.default_rng(4).normal(size=(2, 1100, 1))
    y = np.concatenate((y, y))
    k = np.exp(-0.5 * (x - y.T) ** 2)
    k_x, k_y = (np.exp(-0.5 * (a - a.T) ** 2) for a in (x, y))
    within = (k_x.sum() - 1100) / (1100 * 1099) + (k_y.sum() - 2200) / (2200 * 2199)
    assert mmd(x, y, bandwidth=1)["mmd2"] == pytest.approx(within - 2 * k.mean(), rel=1e-9)


def test_is_the_published_estimate_over_unordered_pairs():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(12, 1)), rng.normal(size=(9, 1))
    between_y = [abs(y[i, 0] - y[j, 0]) for i in range(9) for j in range(i)]
    h = np.median(between_y)

    def total(pairs):
        return sum(np.exp(-0.5 * (a - b) ** 2 / h**2) for a, b in pairs)

    s_x = total((x[i, 0], x[j, 0]) for i in range(12) for j in range(i)) / (12 * 11)
    s_y = total((y[i, 0], y[j, 0]) for i in range(9) for j in range(i)) / (9 * 8)
    s_xy = total((a, b) for a in x[:, 0] for b in y[:, 0]) / (12 * 9)
    found = mmd(x, y)
    assert found["mmd_bandwidth"] == pytest.approx(h)
    assert found["mmd2"] == pytest.approx(2 * (s_x + s_y - s_xy))


def test_is_unbiased_for_equal_distributions():
    rng = np.random.default_rng(2)
    found = [mmd(*rng.normal(size=(2, 30, 1)), bandwidth=1.0)["mmd2"] for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)
    assert np.mean(np.array(found) < 0) > 0.4


def test_large_references_are_thinned_for_the_bandwidth_only():
    y = np.sort(np.random.default_rng(3).normal(size=(5500, 1)), axis=0)
    found = mmd(y[:100], y)
    # The median distance of two standard normal numbers.
    assert found["mmd_bandwidth"] == pytest.approx(0.6745 * np.sqrt(2), rel=0.05)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"shapes \(N, D\) and \(M, D\).*got \(4,\) and \(4, 1\)"):
        mmd(np.zeros(4), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="positive bandwidth; got 0.0"):
        mmd(np.ones((4, 1)), np.zeros((4, 1)))
