"""Draws of the host: decided by the key alone, and keys of its kind."""

import jax.random as jr
import numpy as np
import pytest

from mflows.keys import drawn_keys, generator, integer_seed


def test_the_key_decides():
    numbers = [generator(jr.key(seed)).normal(size=3) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(numbers[0], numbers[1])
    assert (numbers[0] != numbers[2]).all()
    assert integer_seed(jr.key(0)) == integer_seed(jr.key(0)) != integer_seed(jr.key(1))


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
def test_drawn_keys_are_all_different_and_of_the_kind(kind):
    like = jr.key(0, impl=kind)
    keys = drawn_keys(generator(like), like, 100)
    assert keys.shape == (100,)
    assert jr.key_impl(keys) == jr.key_impl(like)
    assert len(np.unique(np.asarray(jr.key_data(keys)), axis=0)) == 100
