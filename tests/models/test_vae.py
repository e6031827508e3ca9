"""The VAE against probabilistic PCA, of which everything is known in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from tests.registry import FLOWS, placement, turn_of

import mflows as mf
from mflows.charts import Unavailable, place
from mflows.data import Data
from mflows.models import log_weight
from mflows.nets import GaussianEncoder, SkipMLP

NOISE, N, DIM = 0.3, 2, 3
PLACEMENT = placement(DIM, plane_dim=N)


@pytest.fixture(scope="module")
def flow() -> mf.Flow:
    """Decoder (u, 0), and the exact posterior N(z / (1 + s^2), s^2 / (1 + s^2)) as encoder."""
    flow = mf.models.vae(jr.key(0), (DIM,), N, noise=NOISE, width=4, blocks=1)
    flow = eqx.tree_at(lambda f: f.chart, flow, place(flow.chart, PLACEMENT))
    scale = NOISE / np.sqrt(1 + NOISE**2)

    def networks(flow):
        inner = flow.chart.inner
        parts = (inner.chart.generator.network, inner.encoder.mean, inner.encoder.spread)
        return [part.network for part in parts]

    exact = [
        lambda u: jnp.zeros(DIM),
        lambda z: -z[:N] * NOISE**2 / (1 + NOISE**2),
        lambda z: jnp.log(jnp.expm1(scale)) - z[:N],
    ]
    return eqx.tree_at(networks, flow, exact)


@pytest.fixture(scope="module")
def truth():
    mean, columns = (
        PLACEMENT.mean.tree,
        np.asarray(PLACEMENT.scale.tree)[:, None] * turn_of(PLACEMENT),
    )
    within = np.diag([1.0] * N + [0.0] * (DIM - N)) + NOISE**2 * np.eye(DIM)
    return multivariate_normal(mean, columns @ within @ columns.T)


@pytest.fixture(scope="module")
def points(truth):
    return truth.rvs(50, random_state=0)


def test_with_the_exact_posterior_every_weight_is_the_density(flow, truth, points):
    weights = jax.jit(jax.vmap(lambda x, key: log_weight(flow, x, None, key)))
    found = weights(points, jr.split(jr.key(1), len(points)))
    np.testing.assert_allclose(found, truth.logpdf(points), rtol=1e-10)


def test_with_a_wide_posterior_the_importance_weighted_bound_is_the_tighter_one(
    flow, truth, points
):
    wide = eqx.tree_at(lambda f: f.chart.inner.encoder.spread.network, flow, lambda z: 0.0 - z[:N])
    found = mf.metrics.importance_weighted_bound(wide, Data(points), jr.key(2), draws=500)
    exact = truth.logpdf(points).mean()
    assert found["elbo"] < found["importance_weighted"] - 0.5
    assert abs(found["importance_weighted"] - exact) < 0.05


def test_a_vae_has_no_density_and_says_what_it_has(flow, points):
    with pytest.raises(Unavailable, match="got a VAE.*importance_weighted_bound"):
        flow.log_prob(points)
    assert np.isfinite(flow.distance(points)).all()
    assert flow.sample(jr.key(0), (4,)).shape == (4, DIM)


def test_other_flows_have_no_evidence():
    with pytest.raises(TypeError, match=r"built by mflows.models.vae"):
        log_weight(FLOWS["curve"](), jnp.zeros(2), None, jr.key(0))


def test_the_spread_of_an_encoder_may_be_as_small_as_rounding():
    """As for the first axes of tables with thousands of columns that hang together."""
    networks = (SkipMLP(key, 3, 2, width=4, blocks=1) for key in jr.split(jr.key(0)))
    encoder = GaussianEncoder(*networks)

    def log_scale(first):
        return encoder.scale_and_log(jnp.array([first, 0.0, 0.0]))[1][0]

    for first in (-800.0, -76.0, -19.9, 0.3, 50.0):
        spread = float(encoder.spread(jnp.array([first, 0.0, 0.0]))[0])
        expected = np.log(np.logaddexp(0, spread)) if spread > -30 else spread
        assert float(log_scale(first)) == pytest.approx(expected, abs=1e-8)
        assert 0 < float(jax.grad(log_scale)(first)) < 1.01
