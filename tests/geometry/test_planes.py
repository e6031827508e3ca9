"""The starting plane: found where there is one, denied where there is none."""

import jax.random as jr
import numpy as np
import pytest

from mflows.geometry import planes
from mflows.geometry.planes import (
    NO_PLANE,
    choose_plane,
    conflict,
    neighbours_of,
    principal_axes,
)
from mflows.simulators import named


def standardised(x):
    x = np.asarray(x)
    return (x - x.mean(0)) / x.std(0)


def rolled(name, count=3000):
    return standardised(named(name).draw(jr.key(0), count)), named(name).latent_dim


def test_conflict_of_an_isometry_is_one_and_of_a_fold_is_large():
    rng = np.random.default_rng(0)
    u = rng.uniform(size=(1000, 2))
    flat = np.pad(u, ((0, 0), (0, 1)))
    assert conflict(flat, u) == pytest.approx(1)
    folded = np.concatenate((flat, flat + np.array([0, 0, 1])))
    assert conflict(folded, folded[:, :2]) > 5


def test_a_graph_over_an_oblique_plane_is_found():
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    u = rng.uniform(-1, 1, size=(2000, 2))
    heights = np.stack([2 * np.sin(k * u[:, 0] + u[:, 1]) for k in (2, 3, 4, 5)], axis=1)
    z = standardised(np.concatenate((u, heights), axis=1) @ axes)
    plane = choose_plane(jr.key(0), z, 2)
    principal = np.linalg.svd(z, full_matrices=False)[2][:2]
    assert plane.score < NO_PLANE
    assert plane.score < conflict(z, z @ principal.T)


@pytest.mark.parametrize("name", ["swiss-roll", "s-curve", "spiral"])
def test_no_plane_serves_a_rolled_shape(name):
    z, n = rolled(name)
    assert choose_plane(jr.key(0), z, n).score > NO_PLANE


@pytest.mark.parametrize(
    ("points", "dim", "n"),
    [(10, 3, 2), (2, 2, 1), (50, 40, 14), (30, 5, 4), (40, 60, 14), (10, 60, 14)],
)
def test_the_frame_is_orthonormal_even_for_few_points(points, dim, n):
    z = np.random.default_rng(2).normal(size=(points, dim))
    frame = choose_plane(jr.key(1), z, n, candidates=4, steps=5).frame
    assert frame.shape == (n, dim)
    np.testing.assert_allclose(frame @ frame.T, np.eye(n), atol=1e-10)


def test_the_plane_is_determined_by_the_key():
    z = np.random.default_rng(3).normal(size=(300, 4))
    first, again = (choose_plane(jr.key(5), z, 2, steps=10) for _ in range(2))
    np.testing.assert_array_equal(first.frame, again.frame)


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (400, 6)])
def test_axes_of_large_data_are_those_of_the_decomposition(shape, monkeypatch):
    """By eigenvectors of products, whose signs may differ; the last data lie on a plane."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=shape) @ np.diag(np.linspace(3, 1, shape[1]))
    if shape[1] == 6:
        z[:, 3:] = z[:, :3] @ rng.normal(size=(3, 3))
    z -= z.mean(0)
    expected = principal_axes(z) if shape[1] == 6 else np.linalg.svd(z, full_matrices=False)[2]
    monkeypatch.setattr(planes, "SMALL", 0)
    axes = principal_axes(z)
    rank = {40: 40, 300: 39, 6: 3}[shape[1]]
    assert axes.shape == (rank, shape[1])
    np.testing.assert_allclose(np.abs((axes * expected[:rank]).sum(1)), 1, atol=1e-8)


@pytest.mark.parametrize("dim", [3, 7])
def test_neighbours_are_the_nearest_in_their_order(dim):
    u = np.random.default_rng(5).normal(size=(100, dim)) + 1e4
    apart = np.linalg.norm(u[:, None] - u, axis=2)
    np.testing.assert_array_equal(neighbours_of(u), np.argsort(apart, axis=1)[:, 1:9])
    assert neighbours_of(u[:4]).shape == (4, 3)


def test_a_plane_of_many_columns_is_judged_by_many_rows():
    """Of the variance in the best plane of all rows, that of some hundred rows misses a part."""
    rng = np.random.default_rng(6)
    z = rng.normal(size=(4000, 200))
    z[:, :5] *= 1.5
    z -= z.mean(0)
    frame = choose_plane(jr.key(0), z, 5, points=100, candidates=2, steps=0).frame
    best = np.linalg.svd(z, full_matrices=False)[2][:5]
    held, most = (np.square(z @ rows.T).sum() for rows in (frame, best))
    assert held > 0.995 * most
