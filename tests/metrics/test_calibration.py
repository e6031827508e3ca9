import numpy as np
import pytest
from scipy.stats import norm

from mflows.metrics import coverage, hpd_levels

TRIALS, DRAWS = 2000, 400


def normal_posteriors(scale, seed=0):
    """Posteriors N(m, scale^2) of truths that are N(m, 1), and their log-densities."""
    rng = np.random.default_rng(seed)
    mean = 5 * rng.normal(size=(TRIALS, 1))
    truth = mean + rng.normal(size=(TRIALS, 1))
    draws = mean + scale * rng.normal(size=(TRIALS, DRAWS))
    return (norm.logpdf(y, mean, scale) + 7.0 for y in (draws, truth[:, 0:1]))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_too_narrow_right_and_too_wide(scale):
    draws, truth = normal_posteriors(scale)
    found = coverage(draws, truth[:, 0])
    for mass in (50, 90, 95):
        true_mass = 2 * norm.cdf(scale * norm.ppf(0.5 + mass / 200)) - 1
        assert found[f"coverage_{mass}"] == pytest.approx(true_mass, abs=0.03)
    grid = np.linspace(0.001, 0.999, 999)
    largest = np.abs(2 * norm.cdf(scale * norm.ppf(0.5 + grid / 2)) - 1 - grid).max()
    assert found["coverage_error"] == pytest.approx(largest, abs=0.03)
    assert (found["coverage_p"] > 0.05) == (scale == 1)


def test_levels_of_a_shared_density_are_masses():
    """Draws serve all truths where they come from one density, as an unconditional flow's."""
    y = norm.ppf((np.arange(999) + 0.5) / 999)
    truth = np.array([0.0, 0.6745, 1.645])
    levels = hpd_levels(norm.logpdf(y), norm.logpdf(truth))
    assert levels == pytest.approx([0, 0.5, 0.9], abs=0.002)
    assert levels.min() > 0


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"got \(3, 8\) and \(2,\)"):
        hpd_levels(np.zeros((3, 8)), np.zeros(2))
    with pytest.raises(ValueError, match="without NaN"):
        hpd_levels(np.zeros(8), np.array([np.nan]))
