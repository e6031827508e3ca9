"""Objectives against closed forms."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import Normal
from tests.registry import placement

import mflows as mf
from mflows.charts import Pad
from mflows.training import Batch, ReverseKL


def test_reverse_kl_of_normals_is_the_known_one_and_zero_of_the_flow_itself():
    """Coordinates keep their lengths, so the divergence is that of normals on a line."""
    flow = mf.Flow(Pad(1, 2), Normal(jnp.ones(1), 2 * jnp.ones(1)))
    batch = Batch(jnp.zeros((20_000, 2)), None)
    itself = ReverseKL(lambda x: flow._log_prob(x))(flow, batch, jr.key(0))
    np.testing.assert_allclose(itself, 0, atol=1e-12)
    other = ReverseKL(lambda x: jax.scipy.stats.norm.logpdf(x[0]))(flow, batch, jr.key(0))
    np.testing.assert_allclose(other, (2**2 + 1 - 1) / 2 - np.log(2), atol=0.05)


def test_reverse_kl_is_of_densities_per_length_of_the_manifold():
    flow = mf.Flow(Pad(1, 2).then(placement(2)), Normal(jnp.zeros(1)))
    batch = Batch(jnp.zeros((2_000, 2)), None)
    found = ReverseKL(lambda x: 0.0 * x[0])(flow, batch, jr.key(0))
    stretch = float(flow.volume.log_volume(flow.chart, jnp.zeros(1)))
    np.testing.assert_allclose(found, -0.5 * np.log(2 * np.pi * np.e) - stretch, atol=0.05)
