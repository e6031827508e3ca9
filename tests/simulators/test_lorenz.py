"""The Lorenz attractor against SciPy's integrator and the published moments."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mflows.simulators import HasDistance, HasLogProb, Lorenz, Simulator, named
from mflows.simulators.lorenz import MEAN, STD, follow, velocity


def test_short_trajectories_are_those_of_scipy():
    starts = 1 + 0.1 * jr.normal(jr.key(0), (3, 3))
    times = jnp.tile(jnp.array([1.5, 5.0]), (3, 1))
    found = follow(starts, times)
    for start, path in zip(starts, found, strict=True):
        expected = solve_ivp(
            lambda t, y: np.asarray(velocity(t, y)),
            (0, 5),
            np.asarray(start),
            t_eval=np.asarray(times[0]),
            rtol=1e-8,
            atol=1e-8,
        ).y.T
        np.testing.assert_allclose(path, expected, atol=1e-2)  # an error grows e^(0.9 t)-fold
        np.testing.assert_allclose(path[0], expected[0], atol=1e-4)


def test_velocity_is_zero_at_the_fixed_points():
    root = np.sqrt(8 / 3 * 27)
    for point in ([0, 0, 0], [root, root, 27], [-root, -root, 27]):
        np.testing.assert_allclose(velocity(0.0, jnp.array(point, float)), 0, atol=1e-12)


@pytest.fixture(scope="module")
def points():
    short = Lorenz(trajectories=50, start=20.0, end=60.0)
    return np.asarray(short.simulate(jr.key(1), jnp.zeros((10_000, 0))))


def test_moments_are_the_published_ones(points):
    assert points.shape == (10_000, 3)
    # x and y change sign with the lobe: their means are noise around 0, the published ones too.
    assert np.abs(points.mean(0)[:2]).max() < 1.5
    np.testing.assert_allclose(points.mean(0)[2], MEAN[2], rtol=0.02)
    np.testing.assert_allclose(points.std(0), STD, rtol=0.05)


def test_points_are_in_random_order(points):
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.median(steps) > 10
    assert (points[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.1)


def test_shapes_keys_and_capabilities():
    brief = Lorenz(trajectories=3, start=0.0, end=0.5)
    x = brief.simulate(jr.key(0), jnp.zeros((2, 2, 0)))
    assert x.shape == (2, 2, 3)
    assert (x == brief.simulate(jr.key(0), jnp.zeros((2, 2, 0)))).all()
    assert not (x == brief.simulate(jr.key(1), jnp.zeros((2, 2, 0)))).any()
    assert brief.simulate(jr.key(0), jnp.zeros(0)).shape == (3,)
    assert brief.prior.sample(jr.key(0), (5,)).shape == (5, 0)
    lorenz = named("lorenz")
    assert isinstance(lorenz, Lorenz)
    assert isinstance(lorenz, Simulator)
    assert not isinstance(lorenz, HasDistance | HasLogProb)
    assert jax.numpy.isfinite(x).all()
