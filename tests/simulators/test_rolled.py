"""Rolled shapes against their arc lengths, brute force, and points moved off along normals."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import kstest

from mflows.simulators import HasDistance, HasLogProb, HasSurface, Simulator, SwissRoll, named

NAMES = ("swiss-roll", "s-curve", "spiral")


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_knows_its_truth(name):
    shape = named(name)
    for capability in (Simulator, HasLogProb, HasDistance, HasSurface):
        assert isinstance(shape, capability)
    x = shape.simulate(jr.key(0), shape.prior.sample(jr.key(1), (5, 40)))
    assert x.shape == (5, 40, shape.dim)
    assert (x.reshape(200, -1) == shape.draw(jr.key(0), 200)).all()
    np.testing.assert_allclose(shape.distance(x), 0, atol=1e-9)
    np.testing.assert_allclose(shape.embed(shape.unembed(x)), x, atol=1e-9)
    assert shape.log_prob(x).shape == (5, 40)
    with pytest.raises(ValueError, match=r"Expected x of shape \(\.\.\., .*for this shape; got"):
        shape.distance(jnp.zeros(7))


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_one_over_area(name):
    """Areas of the cells of a fine grid, from differences between its corners."""
    shape = named(name)
    axes = [np.linspace(*ends, 400) for ends in zip(shape.low, shape.high, strict=True)]
    corners = np.asarray(shape.embed(np.stack(np.meshgrid(*axes, indexing="ij"), -1)))
    middles = [(axis[1:] + axis[:-1]) / 2 for axis in axes]
    sides = [np.diff(corners, axis=i)[(slice(399),) * len(axes)] for i in range(len(axes))]
    gram = np.einsum("i...d,j...d->...ij", sides, sides)
    area = np.sqrt(np.linalg.det(gram))
    some = tuple(np.random.default_rng(0).integers(0, 399, (len(axes), 50)))
    z = np.stack([middle[at] for middle, at in zip(middles, some, strict=True)], -1)
    expected = -np.log(area[some] * area.size)
    np.testing.assert_allclose(shape.log_prob(shape.embed(z)), expected, atol=0.02)
    inside = [np.asarray(u) for u in shape.unembed(shape.draw(jr.key(2), 500)).T]
    for u, low, high in zip(inside, shape.low, shape.high, strict=True):
        assert kstest((u - low) / (high - low), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_no_point_of_the_sheet_is_nearer_than_the_nearest(name):
    shape = named(name)
    x = shape.draw(jr.key(3), 20)
    x = x + 0.5 * jr.normal(jr.key(4), x.shape)
    many = np.asarray(shape.draw(jr.key(5), 100_000))
    least = np.linalg.norm(np.asarray(x)[:, None] - many, axis=-1).min(1)
    distance = np.asarray(shape.distance(x))
    assert (distance <= least + 1e-9).all()
    np.testing.assert_allclose(distance, least, atol=0.1)


def test_the_distance_beyond_the_ends_is_that_to_the_edge():
    roll = SwissRoll()
    t = 4.5 * np.pi
    end = np.array([t * np.cos(t), 21.0, t * np.sin(t)])
    along = np.array([np.cos(t) - t * np.sin(t), 0, np.sin(t) + t * np.cos(t)])
    beyond = end + 0.3 * along / np.linalg.norm(along) + [0, 0.4, 0]
    np.testing.assert_allclose(roll.distance(beyond), 0.5, rtol=1e-6)
    np.testing.assert_allclose(roll.unembed(beyond), roll.high, rtol=1e-6)
