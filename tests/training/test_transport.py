"""Sinkhorn divergence: its units, a closed form, its gradient, and flows that learn by it."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.bijections import Affine
from flowjax.distributions import Normal, Transformed
from scipy.special import logsumexp
from tests.registry import key

import mflows as mf
from mflows.charts import BijectionChart, Pad, Placement
from mflows.training import Batch, SinkhornDivergence
from mflows.training.objectives import sinkhorn_divergence


def points(seed: int, count: int = 30, dim: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim))


def plain(x: np.ndarray, y: np.ndarray, blur: float) -> float:
    """OT_b by Sinkhorn's own iteration on its dual, until nothing changes."""
    cost = ((x[:, None] - y) ** 2).sum(-1) / 2
    f, g, eps = np.zeros(len(x)), np.zeros(len(y)), blur**2
    for _ in range(2000):
        f = -eps * (logsumexp((g - cost) / eps, axis=1) - np.log(len(y)))
        g = -eps * (logsumexp((f[:, None] - cost) / eps, axis=0) - np.log(len(x)))
    return f.mean() + g.mean()


@pytest.fixture(scope="module")
def divergence():
    return jax.jit(
        jax.value_and_grad(lambda x, y: sinkhorn_divergence(x, y, blur=0.5, iterations=500))
    )


def test_it_is_the_debiased_cost_in_the_units_of_the_blur(divergence):
    x, y = points(0), 0.5 * points(1) + 0.3
    expected = plain(x, y, 0.5) - plain(x, x, 0.5) / 2 - plain(y, y, 0.5) / 2
    np.testing.assert_allclose(float(divergence(x, y)[0]), expected, rtol=1e-6)
    np.testing.assert_allclose(float(divergence(x, x)[0]), 0, atol=1e-9)


def test_a_shift_costs_half_its_square(divergence):
    x = points(0)
    shift = np.array([0.3, -0.4])
    value, gradient = divergence(x + shift, x)
    np.testing.assert_allclose(float(value), 0.125, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(gradient).sum(0), shift, rtol=1e-6)


def test_twenty_iterations_are_near_the_optimum():
    x, y = points(0, 200), points(1, 200) * np.array([1.0, 0.2])
    exact = float(sinkhorn_divergence(x, y, iterations=1000))
    np.testing.assert_allclose(float(sinkhorn_divergence(x, y)), exact, rtol=0.1)


def test_a_line_moves_to_the_data_and_takes_their_width():
    line = Transformed(Normal(jnp.zeros(1), jnp.ones(1)), Affine(jnp.zeros(1), jnp.ones(1)))
    chart = Pad(1, 2).then(Affine(jnp.zeros(2), jnp.ones(2))).then(Placement.identity(2, 1))
    data = np.array([[100.0, -5.0]]) + points(0, 400) * np.array([[20.0, 0.0]])
    data[:, 1] += 0.01 * (data[:, 0] - 100)
    recipe = mf.recipes.optimal_transport(15, batch_size=100, learning_rate=0.01)
    fitted = mf.fit(jr.key(0), mf.Flow(chart, line), data, recipe, progress=False)
    losses = [row["train"] for row in fitted.history]
    assert losses[-1] < losses[0]
    samples = np.asarray(fitted.flow.sample(jr.key(1), (2000,)))
    np.testing.assert_allclose(samples.mean(0), data.mean(0), atol=3 * 0.2, rtol=0.02)
    np.testing.assert_allclose(samples[:, 0].std(), data[:, 0].std(), rtol=0.1)


class Shifted(Normal):
    """A normal whose mean is theta times a slope."""

    slope: float = 1.0
    cond_shape = (1,)

    def _sample(self, key, condition=None):
        return super()._sample(key) + self.slope * condition


def test_samples_are_compared_at_their_own_theta():
    theta = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, size=(200, 1)))
    x = theta + 0.1 * jr.normal(jr.key(0), theta.shape)
    chart = BijectionChart(Affine(jnp.zeros(1), jnp.ones(1)))

    def loss(slope):
        latent = Shifted(jnp.zeros(1), 0.1 * jnp.ones(1))
        object.__setattr__(latent, "slope", slope)
        return float(SinkhornDivergence()(mf.Flow(chart, latent), Batch(x, theta), key(0)))

    # The points alone are the same for both signs: theta is uniform on [-1, 1].
    assert loss(1.0) < min(loss(0.8), loss(1.2))
    assert loss(-1.0) > loss(1.0) + 0.1


def test_the_objective_leaves_out_the_term_of_the_data_alone():
    """It has no gradient: losses of two flows differ as their divergences do."""
    y = jnp.asarray(points(0, 50))

    def losses(shift):
        flow = mf.Flow(
            BijectionChart(Affine(jnp.full(2, shift), jnp.ones(2))), Normal(jnp.zeros(2))
        )
        keys = jr.split(key(0), len(y))
        samples = jax.vmap(flow._sample)(keys)
        whole = sinkhorn_divergence(samples, y)
        return float(SinkhornDivergence()(flow, Batch(y, None), key(0))), float(whole)

    (near, near_whole), (far, far_whole) = losses(0.0), losses(1.0)
    assert far - near == pytest.approx(far_whole - near_whole, rel=1e-9)
    assert near > near_whole > 0
