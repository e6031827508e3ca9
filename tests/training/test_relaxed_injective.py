"""The stochastic bound, for a linear chart where its expectation is known."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from paramax import unwrap
from tests.registry import CHARTS, linear_flow

from mflows.training.objectives.joint import bound
from mflows.training.phases import Batch


def test_the_bound_is_unbiased_and_below_the_exact_density():
    """In two dimensions E log |J v| = log((a + b) / 2), of singular values a and b."""
    flow, chart = linear_flow(), unwrap(CHARTS["plane in four dimensions"]())
    columns = chart.pushforward(jnp.zeros(2), jnp.eye(2))[1]
    a, b = np.linalg.svd(columns, compute_uv=False)
    x = flow.sample(jr.key(0))
    many = jnp.broadcast_to(x, (20_000, 4))
    found = np.asarray(bound(flow, Batch(many, None), jr.key(1)))
    error = found.std() / np.sqrt(len(found))
    exact = float(flow.log_prob(x))
    expected = exact + np.log(a * b) - 2 * np.log((a + b) / 2)
    assert expected < exact - 5 * error
    assert abs(found.mean() - expected) < 4 * error
