import jax.random as jr
import numpy as np
import pytest
from tests.inference.known import LINEAR, OBSERVED, PRIOR, assert_is_the_posterior

from mflows.inference import metropolis


def test_proposal_learns_a_bounded_and_correlated_posterior():
    found = metropolis(jr.key(0), LINEAR, OBSERVED, PRIOR)
    assert found.samples.shape == (4, 1250, 2)
    assert_is_the_posterior(found)
    assert found.acceptance == pytest.approx(np.full(4, 0.234), abs=0.12)
    assert found.divergences == 0
