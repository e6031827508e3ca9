import numpy as np
import pytest

from mflows.inference import SamplingWarning
from mflows.inference.diagnostics import diagnose

GOOD = np.random.default_rng(0).normal(size=(4, 500, 2))


def test_numbers_of_good_chains():
    found = diagnose(GOOD)
    assert np.all(np.abs(found.r_hat - 1) < 0.01)
    assert np.all(np.abs(found.ess_bulk / 2000 - 1) < 0.2)
    assert np.all(np.abs(found.ess_tail / 2000 - 1) < 0.2)


def test_one_bad_parameter_is_enough_to_warn():
    shifted = GOOD.copy()
    shifted[0, :, 1] += 1
    with pytest.warns(SamplingWarning, match=r"R-hat is 1\.\d+, above 1.01. Use more warmup"):
        found = diagnose(np.concatenate([shifted] * 10, axis=1))
    assert found.r_hat[0] < 1.01 < found.r_hat[1]


def test_few_draws_and_divergences_warn():
    with pytest.warns(SamplingWarning, match=r"effective sample size is \d+, below 400"):
        diagnose(GOOD[:, :50] * [1.0, 2.0])
    with pytest.warns(SamplingWarning, match="3 divergent steps.*Raise target_acceptance"):
        diagnose(GOOD, divergences=3)


def test_chains_that_never_moved_warn():
    stuck = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 10, 1))
    with pytest.warns(SamplingWarning, match="R-hat is inf") as told:
        diagnose(stuck)
    assert {each.category for each in told} == {SamplingWarning}
