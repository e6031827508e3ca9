"""Posteriors that are right pass, those that are too narrow are named."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import kstest
from tests.inference.known import LINEAR, PRIOR

from mflows.inference import Calibration, Miscalibrated, SamplingWarning, calibrate

SMALL = {"datasets": 130, "draws": 20, "thin": 2, "warmup": 100}


class OneDimension:
    """x ~ N(theta, 1) with theta ~ N(0, 1): the posterior is N(x / 2, 1/2)."""

    @staticmethod
    def simulate(theta, rng):
        return theta + rng.normal(size=1)

    @staticmethod
    def posterior(key, x, width=0.5**0.5):
        return x[0] / 2 + width * jr.normal(key, (50, 1))


@pytest.fixture(scope="module")
def prior():
    from scipy.stats import norm

    return norm(0, 1)


def test_posteriors_by_nuts_of_the_truth_are_calibrated():
    def simulator(theta, rng):
        return np.asarray(LINEAR.matrix) @ theta + rng.normal(size=3)

    done = []
    found = calibrate(
        jr.key(0), LINEAR, simulator, PRIOR, points=2, seen=lambda *n: done.append(n), **SMALL
    )
    assert done == [(128, 130), (130, 130)]
    assert found.names == ("theta0", "theta1")
    assert found.ranks.shape == (130, 2)
    assert found.hpd.shape == found.tarp.shape == (130,)
    assert not found.problems()
    assert list(found.levels) == ["rank of theta0", "rank of theta1", "TARP", "HPD"]
    table = found.summary()
    assert table["error"][3] == pytest.approx(kstest(found.hpd, "uniform").statistic)
    assert table["within 90%"][3] == np.mean(found.hpd <= 0.9)
    assert table["within 50%"][0] == np.mean(np.abs(found.ranks[:, 0] - 0.5) <= 0.25)


def test_draws_from_elsewhere_are_judged_alike(prior):
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(300, 1))
    x = theta + rng.normal(size=theta.shape)
    draws = x[:, None] / 2 + 0.5**0.5 * rng.normal(size=(300, 50, 1))
    denser = np.abs(draws - x[:, None] / 2)[..., 0] < np.abs(theta - x / 2)
    found = Calibration.of_draws(jr.key(0), draws, theta, [prior], names=("a",), denser=denser)
    assert list(found.levels) == ["rank of a", "TARP", "HPD"]
    assert found.draws == 50
    assert not found.problems()
    narrow = Calibration.of_draws(jr.key(0), (draws + x[:, None]) / 3, theta, [prior])
    assert narrow.hpd is None
    assert "too" in narrow.problems()[0]
    with pytest.raises(ValueError, match=r"draws of shape \(datasets, L, k\).*got \(300, 50, 1\)"):
        Calibration.of_draws(jr.key(0), draws, theta[:5], [prior])
    with pytest.raises(ValueError, match="names of 1 parameters"):
        Calibration.of_draws(jr.key(0), draws, theta, [prior], names=("a", "b"))


@pytest.mark.parametrize("width", [0.25, 2.0])
def test_a_posterior_of_a_wrong_width_is_named(prior, width):
    wrong = "too narrow" if width < 0.5 else "too wide"
    with pytest.warns(Miscalibrated, match=f"rank of a: {wrong}, a region of mass 90% holds"):
        found = calibrate(
            jr.key(0),
            lambda key, x: OneDimension.posterior(key, x[0], width),
            OneDimension.simulate,
            prior,
            names=("a",),
            datasets=300,
        )
    assert found.hpd is None
    assert found.draws == 50


def test_a_posterior_of_one_s_own_is_calibrated(prior):
    found = calibrate(
        jr.key(0),
        lambda key, x: OneDimension.posterior(key, x[0]),
        OneDimension.simulate,
        prior,
        datasets=300,
    )
    for levels in found.levels.values():
        assert kstest(levels, "uniform").pvalue > 0.01


def test_a_shift_is_told_from_a_wrong_width():
    rng = np.random.default_rng(0)
    ranks, tarp = rng.uniform(0, 0.8, size=(400, 1)) ** 1.3, rng.uniform(size=400)
    shifted = Calibration(("a",), ranks, tarp, None, 100)
    (problem,) = shifted.problems()
    assert problem.startswith("rank of a: too high")


def test_the_band_holds_95_percent_of_calibrated_curves():
    rng = np.random.default_rng(1)
    band = Calibration((), np.empty((50, 0)), rng.uniform(size=50), None, 10).band
    errors = [kstest(rng.uniform(size=50), "uniform").statistic for _ in range(1000)]
    assert np.mean(np.array(errors) < band) == pytest.approx(0.95, abs=0.03)


def test_a_figure_is_written(tmp_path):
    rng = np.random.default_rng(0)
    levels = rng.uniform(size=(3, 60))
    found = Calibration(("a",), levels[:1].T, levels[1], levels[2], 10)
    assert found.plot(tmp_path / "calibration.png").stat().st_size > 10_000


def test_errors_say_what_to_do(prior):
    with pytest.raises(ValueError, match="Expected names of 1 parameters"):
        calibrate(jr.key(0), OneDimension.posterior, OneDimension.simulate, prior, names=("a", "b"))
    with pytest.raises(ValueError, match=r"draws of shape \(draws, k\)"):
        calibrate(jr.key(0), lambda key, x: jnp.zeros(3), OneDimension.simulate, prior, datasets=2)
    with pytest.raises(ValueError, match="at least 1"):
        calibrate(jr.key(0), LINEAR, OneDimension.simulate, prior, draws=0)


def test_chains_that_have_not_settled_are_told(prior):
    class Ridge:
        """A posterior so narrow that steps after a single one of warmup get nowhere."""

        @staticmethod
        def log_prob(x, theta):
            return -jnp.square(1e4 * (x - theta)).sum(axis=-1)

    def simulator(theta, rng):
        return theta + 1e-4 * rng.normal(size=1)

    short = {"datasets": 20, "draws": 10, "thin": 1, "warmup": 1}
    with (
        pytest.warns(SamplingWarning, match="% of the chains have not settled"),
        pytest.warns(Miscalibrated),
    ):
        calibrate(jr.key(0), Ridge, simulator, prior, **short)
