import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from mflows.sweeps import Choice, Range
from mflows.sweeps.space import as_plain, from_plain

SPACES = {
    "whole numbers": (Range(2, 8), IntDistribution(2, 8)),
    "numbers": (Range(0.5, 8), FloatDistribution(0.5, 8)),
    "whole numbers by their logarithm": (Range(2, 8, log=True), IntDistribution(2, 8, log=True)),
    "numbers by their logarithm": (Range(1e-4, 1, log=True), FloatDistribution(1e-4, 1, log=True)),
    "choice": (Choice((True, False)), CategoricalDistribution((True, False))),
}


@pytest.mark.parametrize("name", SPACES)
def test_what_optuna_makes_of_it_and_back(name):
    space, distribution = SPACES[name]
    assert space.distribution == distribution
    assert from_plain(as_plain(space)) == space


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Range(2, 2), "from low to high; got 2..2"),
        (lambda: Range(float("nan"), 2.0), "from low to high"),
        (lambda: Range(0.0, 1.0, log=True), "above 0 for its logarithm; got 0.0"),
        (lambda: Choice((64,)), "two or more different values to choose from; got 64"),
        (lambda: Choice((64, 32, 64)), "got 64|32|64"),
    ],
)
def test_what_is_no_space(make, message):
    with pytest.raises(ValueError, match=message):
        make()
