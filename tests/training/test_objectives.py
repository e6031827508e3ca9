"""Objectives against closed forms."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import Normal
from paramax import unwrap
from tests.registry import placement

import mflows as mf
from mflows.charts import Pad, placement_of
from mflows.training import Batch, Reconstruction, ReverseKL, starts
from mflows.training.objectives import reconstruction


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


@pytest.mark.parametrize("many", [4, 5])
def test_reconstruction_is_the_mean_square_in_units_of_the_placement(monkeypatch, many):
    """Of charts that end with a placement, with heavy tails too, and of one without any."""
    monkeypatch.setattr(reconstruction, "MANY", many)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(30, 4)) * [1, 2, 50, 0.1] + 3)
    for build, settings in (
        (mf.models.me_flow, {"tails": True, "rank": 3, "chart_layers": 1}),
        (mf.models.pae, {}),
    ):
        flow = build(jr.key(0), (4,), 2, latent_layers=1, width=4, **settings)
        flow = starts.place_chart(jr.key(1), flow, Batch(x, None))
        scaled = unwrap(placement_of(flow.chart)).scaled
        z, near = (jax.vmap(scaled)(y)[0] for y in (x, flow.project(x)))
        found = Reconstruction()(flow, Batch(x, None), jr.key(0))
        np.testing.assert_allclose(found, np.mean(np.square(z - near)), rtol=1e-9)
    bare = mf.Flow(Pad(2, 4), Normal(jnp.zeros(2)))
    np.testing.assert_allclose(
        Reconstruction()(bare, Batch(x, None), jr.key(0)), np.square(x[:, 2:]).mean() / 2
    )
