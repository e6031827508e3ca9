"""Geodesics: closed forms, the geodesic equation, and sets of points on a sphere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.distributions import StandardNormal
from tests.registry import FLOWS, placement

import mflows as mf
from mflows.charts import FunctionChart, Generator, Pad, Sphere, Torus, Unavailable
from mflows.latents import torus_flow
from mflows.nets import SkipMLP
from mflows.riemannian import geodesic

RATE = 0.2


def normal(chart) -> mf.Flow:
    return mf.Flow(chart, StandardNormal((chart.latent_dim,)))


def test_on_the_sphere_they_are_great_circles():
    a, b = np.random.default_rng(0).normal(size=(2, 12, 3))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    found = geodesic(normal(Sphere(2)), a, b)
    assert found.converged.all()
    np.testing.assert_allclose(found.length, np.arccos((a * b).sum(1)), rtol=1e-3)
    across = np.cross(a, b)
    heights = np.einsum("ptk,pk->pt", found.x, across / np.linalg.norm(across, axis=1)[:, None])
    assert np.abs(heights).max() < 1e-3
    np.testing.assert_allclose(found.x[:, [0, -1]], np.stack([a, b], axis=1), atol=1e-9)


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_on_a_plane_they_are_straight_lines_of_even_steps(unit):
    chart = Pad(2, 5).then(placement(5))
    flow = normal(chart)
    a, b = np.asarray(flow.sample(jax.random.key(0), (2, 3)))
    found = geodesic(flow, a, b, steps=4)
    np.testing.assert_allclose(found.length, np.linalg.norm(a - b, axis=1), rtol=1e-6)
    share = np.linspace(0, 1, 5)[:, None]
    expected = a[:, None] + share * (b - a)[:, None]
    np.testing.assert_allclose(found.x, expected, atol=1e-5)


def spiral(u):
    """A sheet that is rolled up in a logarithmic spiral; flat in the spiral's length."""
    radius = jnp.exp(RATE * u[0])
    return jnp.stack([radius * jnp.cos(u[0]), radius * jnp.sin(u[0]), u[1]])


def test_on_a_rolled_sheet_they_go_along_the_sheet():
    """Two turns apart the ends are near in space, and far on the sheet."""
    chart = FunctionChart(
        spiral,
        lambda x: jnp.stack([jnp.log(jnp.hypot(x[0], x[1])) / RATE, x[2]]),
        shape=(3,),
        latent_dim=2,
    )
    u = np.array([[0.0, -1.0], [4 * np.pi, 3.0]])
    a, b = np.asarray(jax.vmap(spiral)(u))
    found = geodesic(normal(chart), a, b, steps=64)
    along = np.hypot(1, RATE) / RATE * np.diff(np.exp(RATE * u[:, 0]))[0]
    assert found.converged
    assert found.length == pytest.approx(np.hypot(along, 4.0), rel=1e-3)


def test_angles_take_the_shorter_way_round():
    flow = mf.Flow(Torus(2), torus_flow(jax.random.key(0), 2, layers=1, bins=3, width=4))
    a, b = (np.asarray(flow.decode(np.array(u))) for u in ([3.0, 0.5], [-3.0, 0.5]))
    found = geodesic(flow, a, b)
    assert found.length == pytest.approx(2 * np.pi - 6, rel=1e-3)
    assert found.converged


def test_their_acceleration_is_normal_to_the_manifold():
    """The geodesic equation, J^T x'' = 0, on a curved surface, by differences along the curve."""
    flow, theta = FLOWS["conditional affine surface"](), np.array([0.3, -0.4])
    ends = np.array([[-0.8, 0.3], [0.9, 0.6]])
    a, b = np.asarray(flow.decode(ends, theta))
    found = geodesic(flow, a, b, theta, steps=64)
    assert found.converged
    x, u = np.asarray(found.x), np.asarray(found.u)
    bend = 64**2 * (x[2:] - 2 * x[1:-1] + x[:-2])
    frames = jax.vmap(jax.jacfwd(lambda u: flow.decode(u, theta)))(u[1:-1])
    frames, _ = np.linalg.qr(frames)
    along = np.abs(np.einsum("tdk,td->tk", frames, bend)).max()
    straight = np.asarray(flow.decode(np.linspace(*ends, 65), theta))
    assert along < 0.1 * np.linalg.norm(bend, axis=1).max()  # it does bend, as the surface does
    assert found.length < np.linalg.norm(np.diff(straight, axis=0), axis=1).sum()


def test_a_manifold_that_no_condition_moves_asks_for_none():
    flow = mf.models.m_flow(
        jax.random.key(0), (3,), latent_dim=1, cond_shape=(1,), chart_layers=1, latent_layers=1,
        bins=3, width=4, affine=True,
    )  # fmt: skip
    a, b = np.asarray(flow.sample(jax.random.key(1), (2,), np.zeros(1)))
    assert flow.chart.cond_shape is None
    assert geodesic(flow, a, b).length == geodesic(flow, a, b, np.zeros(1)).length
    with pytest.raises(ValueError, match="Expected a condition of shape"):
        geodesic(flow, a, b, density=1.0)


def test_points_of_several_axes():
    flow = normal(Pad(2, (2, 2, 1)))
    a, b = np.asarray(flow.sample(jax.random.key(0), (2,)))
    found = geodesic(flow, a, b, steps=4)
    assert found.x.shape == (5, 2, 2, 1)
    assert found.length == pytest.approx(np.linalg.norm(a - b), rel=1e-6)


def test_a_dear_density_pulls_them_to_where_data_are():
    flow = normal(Pad(2, 3))
    ends = np.array([[-2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    plain, pulled = (geodesic(flow, *ends, density=k) for k in (0.0, 1.0))
    assert plain.x[16, 1] == pytest.approx(1.0, abs=1e-4)
    assert pulled.x[16, 1] < 0.6
    assert pulled.length > plain.length


def on_sphere(polar, around):
    return np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1
    )


def test_a_matrix_of_distances_on_the_sphere():
    rng = np.random.default_rng(1)
    x = on_sphere(rng.uniform(0.5, 2, 6), rng.uniform(-1, 1, 6))
    found = mf.distance_matrix(normal(Sphere(2)), x)
    np.testing.assert_allclose(found, np.arccos(np.clip(x @ x.T, -1, 1)), atol=1e-5)
    np.testing.assert_array_equal(found, found.T)
    assert not np.diag(found).any()


def test_the_mean_of_points_around_a_point_is_that_point():
    """Symmetric about it on the sphere, where no mean of coordinates is."""
    centre, angle = on_sphere(1.0, 0.4), 0.6
    east = np.cross([0, 0, 1], centre) / np.linalg.norm(np.cross([0, 0, 1], centre))
    north = np.cross(centre, east)
    around = np.linspace(0, 2 * np.pi, 7)[:-1]
    x = np.cos(angle) * centre + np.sin(angle) * (
        np.cos(around)[:, None] * east + np.sin(around)[:, None] * north
    )
    found = mf.frechet_mean(normal(Sphere(2)), x)
    np.testing.assert_allclose(found.x, centre, atol=2e-3)
    assert found.variance == pytest.approx(angle**2, rel=1e-3)
    assert np.abs(found.logarithms.mean(axis=0)).max() < 2e-3


def test_points_along_a_great_circle_have_it_for_principal_geodesic():
    angles = np.array([-0.9, -0.3, 0.1, 0.4, 0.7])
    tilt, _ = np.linalg.qr([[0.2, 0.9, 0.3], [0.8, -0.4, 0.5], [0.5, 0.3, -0.7]])
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) @ tilt.T
    found = mf.principal_geodesic(normal(Sphere(2)), circle)
    assert found.share == pytest.approx(1, abs=1e-4)
    assert found.deviation == pytest.approx(angles.std(), rel=1e-3)
    np.testing.assert_allclose(np.asarray(found.x) @ tilt[:, 2], 0, atol=2e-3)
    length = np.linalg.norm(np.diff(found.x, axis=0), axis=1).sum()
    assert length == pytest.approx(4 * found.deviation, rel=1e-2)
    middle = np.array([np.cos(angles.mean()), np.sin(angles.mean()), 0]) @ tilt.T
    np.testing.assert_allclose(found.x[16], middle, atol=2e-3)


def test_a_point_that_is_there_twice_is_no_distance_away():
    x = on_sphere(np.array([0.7, 0.7, 1.1]), np.array([0.3, 0.3, -0.4]))
    found = geodesic(normal(Sphere(2)), x[0], x)
    assert found.converged.all()
    np.testing.assert_allclose(found.length[:2], 0, atol=1e-12)
    assert mf.distance_matrix(normal(Sphere(2)), x)[0, 1] < 1e-12


def test_single_precision_is_enough():
    rng, flow = np.random.default_rng(0), normal(Sphere(2))
    x = on_sphere(rng.uniform(0.5, 2, 40), rng.uniform(-1, 1, 40))
    with jax.enable_x64(False):
        found = mf.distance_matrix(flow, x, steps=16)
        mf.frechet_mean(flow, x, steps=16)
        assert geodesic(flow, x[2], x[2]).converged
    np.testing.assert_allclose(found, np.arccos(np.clip(x @ x.T, -1, 1)), rtol=1e-4, atol=1e-6)


def test_what_has_not_converged_is_said():
    a, b = np.asarray(jax.vmap(spiral)(np.array([[0.0, 0.0], [4 * np.pi, 0.0]])))
    flow = normal(
        FunctionChart(
            spiral,
            lambda x: jnp.stack([jnp.log(jnp.hypot(x[0], x[1])) / RATE, x[2]]),
            shape=(3,),
            latent_dim=2,
        )
    )
    assert not geodesic(flow, a, b, steps=4).converged
    with pytest.warns(mf.riemannian.GeodesicWarning, match="1 of 1 geodesics have not converged"):
        mf.distance_matrix(flow, np.stack([a, b]), steps=4)


def test_errors():
    flow, x = normal(Pad(1, 2)), np.zeros(2)
    with pytest.raises(ValueError, match="Expected steps >= 2, an even number; got 1"):
        geodesic(flow, x, x, steps=1)
    with pytest.raises(ValueError, match="Expected density >= 0, a power; got -1"):
        geodesic(flow, x, x, density=-1)
    with pytest.raises(ValueError, match="Expected two points or more; got 1"):
        mf.principal_geodesic(flow, x[None])
    with pytest.raises(ValueError, match=r"Expected points of shape \(N, 2\), N >= 1; got \(2,\)"):
        mf.distance_matrix(flow, x)
    with pytest.raises(Unavailable, match="Expected a chart with an encoder"):
        geodesic(normal(Generator(SkipMLP(jax.random.key(0), 1, 2, width=2))), x, x)
    with pytest.raises(ValueError, match="Expected finite numbers"):
        geodesic(flow, x, np.array([np.nan, 0]))
