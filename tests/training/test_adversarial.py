"""A generator against its critic: the game, its judge, and whether it learns."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import energy_distance as scipy_energy_distance
from tests.training.small import Centre, Contest, centre_of, line_flow, moving, points

import mflows as mf
from mflows.training.objectives import Adversarial, energy_distance
from mflows.training.phases import Batch


def test_energy_distance_is_scipys_without_its_bias():
    """SciPy's is the root of the V-statistic, which counts pairs of a point with itself."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=40), rng.normal(1, 2, size=30)

    def within(a):
        return np.abs(a[:, None] - a).sum() * (1 / (len(a) * (len(a) - 1)) - 1 / len(a) ** 2)

    expected = scipy_energy_distance(x, y) ** 2 - within(x) - within(y)
    found = energy_distance(jnp.asarray(x)[:, None], jnp.asarray(y)[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.fixture(scope="module")
def arc() -> np.ndarray:
    t = np.random.default_rng(0).normal(size=400)
    return np.stack([t, 0.5 * t**2], axis=1)


@pytest.fixture(scope="module")
def flow() -> mf.Flow:
    return mf.models.gan(jr.key(0), (2,), 1, width=16, blocks=1)


def test_the_value_of_the_game_is_advantage_minus_penalty(flow):
    """For a linear critic w.x both are known: w.(mean of data - mean of samples), (|w| - 1)^2."""
    w = jnp.array([0.6, 1.2])
    batch = Batch(jnp.array([[1.0, 2.0], [3.0, -1.0]]), None)
    sample_key, _ = jr.split(jr.key(5))
    fake = jnp.stack([flow.chart.decode(_normal(key)) for key in jr.split(sample_key, 2)])
    advantage = w @ (batch.x.mean(0) - fake.mean(0))
    found = Adversarial(penalty=3.0)(flow, batch, jr.key(5), lambda y: jnp.dot(w, y)[None])
    expected = advantage - 3 * (jnp.linalg.norm(w) - 1) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def _normal(key):
    return jr.normal(key, (1,))


def test_the_generator_comes_to_look_like_the_data(flow, arc):
    recipe = mf.recipes.adversarial(150, batch_size=40, learning_rate=3e-3)
    fitted = mf.fit(jr.key(1), flow, arc, recipe, progress=False)
    judged = [row["validation"] for row in fitted.history]
    x = fitted.flow.sample(jr.key(2), (400,))
    before = flow.sample(jr.key(2), (400,))
    assert energy_distance(x, jnp.asarray(arc)) < 0.2 * energy_distance(before, jnp.asarray(arc))
    assert min(judged) < 0.3 * judged[0]
    assert fitted.flow.distance(arc).mean() < 0.3 * flow.distance(arc).mean()


def test_the_flow_minimises_what_its_opponent_maximises():
    data = points(2.0, 40)
    recipe = [moving(60, objective=Contest(), momentum=0.0)]
    fitted = mf.fit(jr.key(0), line_flow(), data, recipe, validation=0, progress=False)
    np.testing.assert_allclose(centre_of(fitted.flow), data.mean(0), atol=0.05)
    least = Centre()(fitted.flow, Batch(jnp.asarray(data), None), None)
    assert min(row["validation"] for row in fitted.history) == pytest.approx(float(least))
