"""The polynomial surface against quadrature, autodiff, its own samples and brute force."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import chisquare, kstest
from sklearn.preprocessing import PolynomialFeatures

from mflows.simulators import (
    HasDistance,
    HasJointScore,
    HasLogProb,
    PolynomialSurface,
    Simulator,
    named,
    names,
)

SURFACE = PolynomialSurface()


def tolerance(double: float, single: float) -> float:
    return double if jax.config.jax_enable_x64 else single


def mesh(low: float, high: float, cells: int):
    """Embedded triangles (2 cells^2, 3, 3) over a square of z, and the z of each, from samples."""
    grid = np.linspace(low, high, cells + 1)
    z = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)
    x = np.asarray(SURFACE.embed(z), np.float64)

    def triangles(array):
        a, b, c, d = array[:-1, :-1], array[1:, :-1], array[:-1, 1:], array[1:, 1:]
        return np.stack([np.stack([a, b, c], -2), np.stack([d, b, c], -2)]).reshape(
            -1, 3, x.shape[-1]
        )

    corners = triangles(x)
    area = (
        np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1
        )
        / 2
    )
    return z, x, corners, area, triangles


def test_rotation_is_a_rotation():
    rotation = np.asarray(SURFACE.rotation, np.float64)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=tolerance(1e-9, 1e-6))
    assert np.linalg.det(rotation) == pytest.approx(1, abs=tolerance(1e-9, 1e-6))


def test_height_is_the_polynomial_of_scikit_learn():
    z = np.random.default_rng(0).normal(scale=3, size=(1000, 2))
    features = PolynomialFeatures(degree=5).fit_transform(z)
    expected = features @ np.asarray(SURFACE.coefficients) * np.exp(-0.1 * (z**2).sum(1))
    np.testing.assert_allclose(SURFACE.height(z), expected, atol=tolerance(1e-13, 2e-5))


def test_height_is_finite_everywhere():
    z = jnp.array([[0.0, 0.0], [1e10, -1e12], [1e18, 1e18]])
    assert jnp.isfinite(SURFACE.height(z)).all()
    assert jnp.isfinite(jax.vmap(jax.grad(SURFACE.height))(z)).all()


def test_embed_and_unembed():
    z = np.random.default_rng(1).normal(scale=3, size=(4, 5, 2))
    x = SURFACE.embed(z)
    assert x.shape == (4, 5, 3)
    np.testing.assert_allclose(SURFACE.unembed(x), z, atol=tolerance(1e-8, 1e-5))
    off = x + 0.3 * SURFACE.rotation[:, 2]
    np.testing.assert_allclose(SURFACE.embed(SURFACE.unembed(off)), x, atol=tolerance(1e-8, 1e-5))
    np.testing.assert_allclose(SURFACE.vertical_distance(off), 0.3, atol=tolerance(1e-8, 1e-5))


@pytest.mark.parametrize("theta", [-1.0, 0.0, 1.0])
def test_density_integrates_to_one_over_the_surface(theta):
    _, _, corners, area, _ = mesh(-12, 12, 480)
    centre = corners.mean(axis=1)
    total = (np.exp(np.asarray(SURFACE.log_prob(centre, [theta]), np.float64)) * area).sum()
    assert total == pytest.approx(1, abs=2e-4)


def test_log_prob_is_the_autodiff_change_of_variables():
    theta = jnp.linspace(-1, 1, 200)[:, None]
    x = SURFACE.simulate(jr.key(0), theta)
    z = SURFACE.unembed(x)
    jacobian = np.asarray(jax.vmap(jax.jacfwd(SURFACE.embed))(z), np.float64)
    volume = np.linalg.slogdet(np.swapaxes(jacobian, 1, 2) @ jacobian)[1] / 2
    z, width = np.asarray(z, np.float64), 0.2 + 0.8 * (0.5 + 0.5 * np.asarray(theta[:, 0]))
    normal = lambda mean, s: np.exp(-((z - mean) ** 2).sum(1) / (2 * s**2)) / (2 * np.pi * s**2)  # noqa: E731
    density = 0.6 * normal((1, -1), 2.0) + 0.4 * normal((-1, 1), width)
    np.testing.assert_allclose(
        SURFACE.log_prob(x, theta), np.log(density) - volume, atol=tolerance(1e-8, 1e-3)
    )


def test_log_prob_is_finite_far_away():
    log_prob = SURFACE.log_prob(jnp.array([[100.0, -50.0, 3.0], [1e4, 0.0, 0.0]]), [-1.0])
    assert jnp.isfinite(log_prob).all()
    assert (log_prob < -1000).all()


@pytest.mark.parametrize("theta", [-1.0, 0.5])
def test_simulate_has_the_density_of_log_prob(theta):
    count, cells, bins = 40_000, 600, 24
    z, _, corners, area, triangles = mesh(-6, 6, cells)
    place = triangles(np.concatenate([z, z[..., :1]], axis=-1)).mean(axis=1)[:, :2]
    edges = np.linspace(-6, 6, bins + 1)
    centre = corners.mean(axis=1)

    def expected(theta):
        mass = np.exp(np.asarray(SURFACE.log_prob(centre, [theta]), np.float64)) * area
        return count * np.histogram2d(*place.T, bins=edges, weights=mass)[0]

    def p_value(expected):
        sample = SURFACE.unembed(SURFACE.simulate(jr.key(1), jnp.full((count, 1), theta)))
        seen = np.histogram2d(*np.asarray(sample).T, bins=edges)[0]
        full = expected > 10
        seen, mass = (np.append(h[full], count - h[full].sum()) for h in (seen, expected))
        return chisquare(seen, mass).pvalue

    assert p_value(expected(theta)) > 1e-3
    assert p_value(expected(theta + 0.2)) < 1e-3, "the test must tell a slightly wrong density"


def test_prior_is_uniform():
    theta = SURFACE.prior.sample(jr.key(2), (2000,))
    assert theta.shape == (2000, 1)
    assert kstest(np.asarray(theta[:, 0]), "uniform", args=(-1, 2)).pvalue > 1e-3
    assert SURFACE.prior.log_prob(jnp.array([0.3])) == pytest.approx(np.log(0.5), abs=1e-6)


def test_simulate_depends_on_key_and_theta():
    theta = jnp.zeros((10, 1))
    x = SURFACE.simulate(jr.key(0), theta)
    assert (x == SURFACE.simulate(jr.key(0), theta)).all()
    assert not (x == SURFACE.simulate(jr.key(1), theta)).any()
    assert SURFACE.simulate(jr.key(0), jnp.zeros((3, 4, 1))).shape == (3, 4, 3)
    assert SURFACE.simulate(jr.key(0), [0.5]).shape == (3,)


def test_ood_moves_points_off_the_surface():
    on, off = SURFACE.ood(jr.key(3), 200)
    assert SURFACE.vertical_distance(on).max() < tolerance(1e-9, 1e-5)
    noise = np.asarray(off - on)
    np.testing.assert_allclose(noise.std(axis=0), 0.1, rtol=0.2)
    assert 0.05 < SURFACE.distance(off).mean() < 0.1


def points(scale: float, count: int = 200) -> jnp.ndarray:
    x = SURFACE.simulate(jr.key(4), jnp.zeros((count, 1)))
    return x + scale * jr.normal(jr.key(5), x.shape)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_distance_is_that_of_brute_force(scale):
    x = points(scale)
    found = np.asarray(SURFACE.distance(x), np.float64)[:40]
    foot = np.asarray(SURFACE.unembed(x), np.float64)[:40]
    reach = np.asarray(SURFACE.vertical_distance(x), np.float64)[:40]
    step = np.linspace(-1, 1, 301)
    disc = np.stack(np.meshgrid(step, step), axis=-1)
    brute = []
    for centre, radius, point in zip(foot, reach, np.asarray(x, np.float64), strict=False):
        grid = SURFACE.embed(centre + radius * disc)
        brute.append(np.linalg.norm(np.asarray(grid, np.float64) - point, axis=-1).min())
    # A grid point can only be farther, and by little: its spacing is 1/150 of the radius.
    assert (found <= np.array(brute) + tolerance(1e-8, 1e-5)).all()
    assert (found >= np.array(brute) - 0.02 * reach - tolerance(1e-8, 1e-5)).all()


@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.1, 1.0, 4.0])
def test_nearest_point_is_on_the_surface_and_never_worse_than_the_vertical(scale):
    x = points(scale)
    nearest, distance = SURFACE.nearest(x), SURFACE.distance(x)
    assert SURFACE.vertical_distance(nearest).max() < tolerance(1e-8, 1e-5)
    np.testing.assert_allclose(
        jnp.linalg.norm(x - nearest, axis=-1), distance, atol=tolerance(1e-8, 1e-5)
    )
    assert (distance <= SURFACE.vertical_distance(x)).all()
    # The offset is normal to the surface.
    tangent = jax.vmap(jax.jacfwd(SURFACE.embed))(SURFACE.unembed(nearest))
    slant = jnp.einsum("ni,nij->nj", x - nearest, tangent)
    assert jnp.abs(slant).max() < tolerance(1e-6, 1e-2 * max(scale, 1e-2))


def test_distance_of_points_moved_along_the_normal():
    z = np.random.default_rng(2).normal(size=(50, 2))
    x, tangent = SURFACE.embed(z), np.asarray(jax.vmap(jax.jacfwd(SURFACE.embed))(jnp.asarray(z)))
    normal = np.cross(tangent[..., 0], tangent[..., 1])
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    moved = x + 0.05 * normal
    np.testing.assert_allclose(SURFACE.distance(moved), 0.05, atol=tolerance(1e-8, 1e-5))
    np.testing.assert_allclose(SURFACE.nearest(moved), x, atol=tolerance(1e-7, 1e-3))


def test_batch_equals_loop_and_jit():
    x, theta = points(0.5, 6).reshape(2, 3, 3), jnp.linspace(-1, 1, 6).reshape(2, 3, 1)
    assert SURFACE.distance(x).shape == SURFACE.log_prob(x, theta).shape == (2, 3)
    close = tolerance(1e-9, 1e-5)
    distance, log_prob = SURFACE.distance(x), SURFACE.log_prob(x, theta)
    for index in np.ndindex(2, 3):
        one, t = np.asarray(x)[index], np.asarray(theta)[index]
        np.testing.assert_allclose(SURFACE.distance(one), distance[index], atol=close)
        np.testing.assert_allclose(SURFACE.log_prob(one, t), log_prob[index], atol=close)
    jitted = eqx.filter_jit(lambda surface, x: surface.distance(x))(SURFACE, x)
    np.testing.assert_allclose(jitted, SURFACE.distance(x), atol=close)
    assert SURFACE.log_prob(x, [0.0]).shape == (2, 3)


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r"Expected theta of shape \(\.\.\., 1\).*got \(5,\)"):
        SURFACE.simulate(jr.key(0), jnp.zeros(5))
    with pytest.raises(ValueError, match=r"Expected x of shape \(\.\.\., 3\).*got \(7, 4\)"):
        SURFACE.distance(jnp.zeros((7, 4)))
    with pytest.raises(ValueError, match=r"Expected z of shape \(\.\.\., 2\).*got \(\)"):
        SURFACE.embed(0.0)


def test_named():
    assert "polynomial-surface" in names()
    simulator = named("polynomial-surface")
    assert isinstance(simulator, PolynomialSurface)
    for capability in (Simulator, HasLogProb, HasDistance, HasJointScore):
        assert isinstance(simulator, capability)
        assert not isinstance(object(), capability)
    with pytest.raises(ValueError, match="out of: .*polynomial-surface.*; got 'torus'"):
        named("torus")


def test_joint_scores_are_those_of_point_and_component():
    theta = jnp.linspace(-1, 1, 400)[:, None]
    x, score = SURFACE.simulate_with_joint_score(jr.key(6), theta)
    assert (x == SURFACE.simulate(jr.key(6), theta)).all()
    narrow = np.asarray(score[:, 0]) != 0
    assert narrow.mean() == pytest.approx(0.4, abs=0.1)
    z = SURFACE.unembed(x)

    def log_joint(theta, z):
        width = 0.6 + 0.4 * theta[0]
        return -jnp.sum((z - jnp.array([-1.0, 1.0])) ** 2) / (2 * width**2) - 2 * jnp.log(width)

    expected = jax.vmap(jax.grad(log_joint))(theta, z)
    np.testing.assert_allclose(score[narrow], expected[narrow], atol=tolerance(1e-9, 1e-3))


def test_the_mean_of_joint_scores_is_the_score():
    count = 100_000
    theta = jnp.full((count, 1), 0.3)
    x, score = SURFACE.simulate_with_joint_score(jr.key(7), theta)
    truth = jax.vmap(jax.grad(SURFACE.log_prob, argnums=1))(x[:5000], theta[:5000])[:, 0]
    z, score = np.asarray(SURFACE.unembed(x)), np.asarray(score)[:, 0]
    # E[t | x] is the score: t minus it has mean 0 wherever one looks.
    rest = score[:5000] - np.asarray(truth)
    for seen in (z[:5000, 0] > 0, z[:5000, 0] < -1, np.abs(z[:5000, 1] - 1) < 0.5):
        error = rest[seen].std() / np.sqrt(seen.sum())
        assert abs(rest[seen].mean()) < 4 * error
    assert score.mean() == pytest.approx(0, abs=4 * score.std() / np.sqrt(count))
