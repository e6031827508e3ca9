"""A thickened density against SciPy's normal."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import Normal
from scipy.stats import multivariate_normal

from mflows.latents import Thickened

ALONG = Normal(jnp.array([1.0, -1.0]), jnp.array([2.0, 0.5]))


def test_around_a_normal_it_is_a_normal():
    thick = Thickened(ALONG, 4, noise=0.1)
    oracle = multivariate_normal([1, -1, 0, 0], np.diag([4, 0.25, 0.01, 0.01]))
    u = np.asarray(thick.sample(jr.key(0), (2000,)))
    np.testing.assert_allclose(thick.log_prob(u[:20]), oracle.logpdf(u[:20]), rtol=1e-10)
    np.testing.assert_allclose(np.cov(u.T), np.diag([4, 0.25, 0.01, 0.01]), atol=0.4)
    np.testing.assert_allclose(u.std(0)[2:], 0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("dim", "noise", "message"), [(2, 0.1, "more dimensions than the 2"), (3, 0.0, "noise > 0")]
)
def test_what_it_refuses(dim, noise, message):
    with pytest.raises(ValueError, match=message):
        Thickened(ALONG, dim, noise=noise)
