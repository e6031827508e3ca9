"""Spheres against quadrature, their own samples, brute-force images and a limit of the noise."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import chisquare
from scipy.stats import norm as normal

from mflows.simulators import (
    ConditionalSphere,
    GaussianSphere,
    HasDistance,
    HasLogProb,
    Simulator,
    named,
)

THETA = [0.8, 0.4]  # wide: much of the density is wrapped


def grid(n: int, nodes: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Midpoints of a grid of angles, the points there, and the area of their cells."""
    polar = (np.arange(nodes) + 0.5) * np.pi / nodes
    azimuth = (np.arange(nodes) + 0.5) * 2 * np.pi / nodes - np.pi
    phi = np.stack(np.meshgrid(*[polar] * (n - 1), azimuth, indexing="ij"), axis=-1)
    sines = np.sin(phi[..., :-1])
    area = np.prod(sines ** np.arange(n - 1, 0, -1), axis=-1) * (np.pi / nodes) ** n * 2
    return phi, points(phi), area


def points(phi: np.ndarray) -> np.ndarray:
    """Spherical coordinates, one by one."""
    x, scale = [], 1.0
    for i in range(phi.shape[-1]):
        x.append(scale * np.cos(phi[..., i]))
        scale = scale * np.sin(phi[..., i])
    return np.stack([*x, scale], axis=-1)


CASES = {
    "circle": (GaussianSphere(1), []),
    "sphere": (GaussianSphere(2), []),
    "three-sphere": (GaussianSphere(3), []),
    "conditional circle": (ConditionalSphere(1), THETA),
    "conditional sphere": (ConditionalSphere(2), THETA),
}


@pytest.mark.parametrize("name", CASES)
def test_the_density_integrates_to_one_over_the_sphere(name):
    simulator, theta = CASES[name]
    _, x, area = grid(simulator.n, 48 if simulator.n == 3 else 200)
    total = (np.exp(np.asarray(simulator.log_prob(x, theta))) * area).sum()
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_density_is_the_sum_over_all_angles_that_give_the_point(name):
    """Found by trying: every sign and shift of every angle, kept if it decodes to the point."""
    simulator, theta = CASES[name]
    n = simulator.n
    rng = np.random.default_rng(0)
    phi = np.append(rng.uniform(0.3, 2.8, n - 1), rng.uniform(-3, 3))
    mean, width = (np.asarray(part) for part in simulator.angles(jnp.asarray(theta)))
    choices = [
        [s * a + half * np.pi for s in (1, -1) for half in range(-7, 8)] for a in phi
    ]  # also the antipode's
    candidates = np.array(list(itertools.product(*choices)))
    same = np.linalg.norm(points(candidates) - points(phi), axis=1) < 1e-9
    sum_over_images = np.exp(normal.logpdf(candidates[same], mean, width).sum(1)).sum()
    area = np.prod(np.sin(phi[:-1]) ** np.arange(n - 1, 0, -1))
    found = simulator.log_prob(points(phi), theta)
    np.testing.assert_allclose(found, np.log(sum_over_images / area), rtol=1e-10)


@pytest.mark.parametrize("name", ["circle", "sphere", "conditional sphere"])
def test_simulate_has_the_density_of_log_prob(name):
    simulator, theta = CASES[name]
    count, cells = 20_000, (12 if simulator.n == 2 else 40)
    phi, x, area = grid(simulator.n, 20 * cells)
    samples = np.asarray(
        simulator.simulate(jr.key(0), jnp.broadcast_to(jnp.array(theta), (count, len(theta))))
    )
    polar = [np.arccos(samples[:, 0])] if simulator.n == 2 else []
    angles = np.stack([*polar, np.arctan2(samples[:, -1], samples[:, -2])], axis=-1)
    ranges = [(0, np.pi)] * (simulator.n - 1) + [(-np.pi, np.pi)]

    def histogram(where, weights=None):
        where = where.reshape(-1, simulator.n)
        return np.histogramdd(where, bins=cells, range=ranges, weights=weights)[0].ravel()

    def p_value(theta, rotated=0.0):
        turned = x * [*[1] * (simulator.n - 1), np.cos(rotated), np.cos(rotated)]
        turned[..., -2] -= np.sin(rotated) * x[..., -1]
        turned[..., -1] += np.sin(rotated) * x[..., -2]
        mass = np.exp(np.asarray(simulator.log_prob(turned, theta))) * area
        expected, seen = count * histogram(phi, mass.ravel()), histogram(angles)
        full = expected > 10
        return chisquare(seen[full], expected[full], sum_check=False).pvalue

    assert p_value(theta) > 1e-3
    assert p_value(theta, rotated=0.1) < 1e-3, "the test must tell a slightly wrong density"


def test_with_noise_the_density_integrates_to_one_over_space():
    plane = GaussianSphere(1, noise=0.3)  # so wide that some radii are negative
    axis = np.linspace(-4, 4, 600)
    x = np.stack(np.meshgrid(axis, axis), axis=-1)
    total = np.exp(np.asarray(plane.log_prob(x))).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=5e-3)  # 1/r at the origin
    space = GaussianSphere(2, noise=0.1)
    _, x, area = grid(2, 30)
    radius = np.linspace(0.3, 1.7, 100)[:, None, None, None]
    shells = np.exp(np.asarray(space.log_prob(radius * x))) * area * radius[..., 0] ** 2
    assert shells.sum() * (1.4 / 99) == pytest.approx(1, abs=1e-6)


def test_with_noise_the_density_is_a_product_along_and_across_the_sphere():
    flat, noisy = GaussianSphere(1), GaussianSphere(1, dim=3, noise=0.01)
    x = np.array([np.cos(0.3), np.sin(0.3)])
    found = noisy.log_prob(np.append(1.02 * x, -0.01))
    across = normal.logpdf([0.02, -0.01], 0, 0.01).sum() - np.log(1.02)
    np.testing.assert_allclose(found, flat.log_prob(x) + across, rtol=1e-12)


def test_noise_leaves_the_sphere_by_as_much_as_it_says():
    simulator = GaussianSphere(2, dim=5, noise=0.01)
    x = simulator.simulate(jr.key(1), jnp.zeros((4000, 0)))
    assert x.shape == (4000, 5)
    np.testing.assert_allclose(np.asarray(x)[:, 3:].std(0), 0.01, rtol=0.05)
    radius = np.linalg.norm(np.asarray(x)[:, :3], axis=1)
    np.testing.assert_allclose([radius.mean() - 1, radius.std()], [0, 0.01], atol=5e-4)
    off = np.linalg.norm(np.column_stack([radius - 1, np.asarray(x)[:, 3:]]), axis=1)
    np.testing.assert_allclose(simulator.distance(x), off, rtol=1e-9)
    on = GaussianSphere(2).simulate(jr.key(1), jnp.zeros((100, 0)))
    np.testing.assert_allclose(GaussianSphere(2).distance(on), 0, atol=1e-12)


def test_the_condition_sets_width_and_place():
    simulator = ConditionalSphere()
    mean, width = simulator.angles(jnp.array([[-1.0, -1.0], [1.0, 1.0]]))
    np.testing.assert_allclose(mean / np.pi, [[0.5, 0.5], [0.5, 1.5]])
    np.testing.assert_allclose(width / np.pi, [[0.1, 0.1], [0.4, 0.4]])
    narrow = simulator.simulate(jr.key(0), jnp.full((500, 2), -1.0))
    np.testing.assert_allclose(narrow.mean(0), [0, 0, 0.9], atol=0.05)


def test_shapes_and_single_precision():
    simulator = ConditionalSphere()
    theta = simulator.prior.sample(jr.key(0), (2, 3))
    x = simulator.simulate(jr.key(1), theta)
    assert x.shape == (2, 3, 3)
    assert simulator.log_prob(x, theta).shape == simulator.distance(x).shape == (2, 3)
    one = simulator.log_prob(x[1, 2], theta[1, 2])
    np.testing.assert_allclose(simulator.log_prob(x, theta)[1, 2], one, rtol=1e-12)
    with jax.enable_x64(False):
        small = simulator.log_prob(np.float32(x), np.float32(theta))
    assert small.dtype == jnp.float32
    np.testing.assert_allclose(small, simulator.log_prob(x, theta), atol=1e-4)


def test_protocols_and_refusals():
    for name in ("circle", "sphere", "conditional-sphere"):
        for capability in (Simulator, HasLogProb, HasDistance):
            assert isinstance(named(name), capability)
    assert named("circle").prior.sample(jr.key(0), (5,)).shape == (5, 0)
    with pytest.raises(ValueError, match=r"Expected theta of shape \(\.\.\., 2\).*got \(0,\)"):
        named("conditional-sphere").log_prob(np.ones(3))
    with pytest.raises(ValueError, match=r"Expected x of shape \(\.\.\., 2\).*got \(3,\)"):
        named("circle").distance(np.ones(3))
    for build, message in (
        (partial(GaussianSphere, 0), "1 <= n < dim; got n = 0, dim = 1"),
        (partial(GaussianSphere, 2, dim=2), "got n = 2, dim = 2"),
        (partial(GaussianSphere, noise=-1.0), "a noise >= 0; got -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
