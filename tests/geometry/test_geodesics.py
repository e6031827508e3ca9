"""Unrolled copies: coordinates by geodesic distances, and whether they can serve."""

import jax.random as jr
import numpy as np
import pytest

from mflows.geometry import geodesic_embedding, overlap, turn_towards


def arc(count, turn=1.6 * np.pi):
    """Most of a circle: a graph over no line, and easily unrolled."""
    angle = np.random.default_rng(0).uniform(-turn / 2, turn / 2, count)
    return np.stack((np.cos(angle), np.sin(angle)), axis=1), angle


def test_geodesic_embedding_recovers_arc_length():
    x, angle = arc(800)
    indices, u = geodesic_embedding(jr.key(0), x, 1)
    assert abs(np.corrcoef(u[:, 0], angle[indices])[0, 1]) > 0.999


@pytest.mark.parametrize("points", [5, 40])
def test_geodesic_embedding_bridges_what_is_not_connected(points):
    rng = np.random.default_rng(4)
    x = np.concatenate((rng.normal(size=(points, 3)), 1000 + rng.normal(size=(points, 3))))
    _indices, u = geodesic_embedding(jr.key(0), x, 2)
    assert u.shape == (2 * points, 2)
    assert np.isfinite(u).all()


def test_turn_towards_is_orthonormal_and_agrees():
    rng = np.random.default_rng(5)
    u = rng.normal(size=(200, 2)) * [2, 1]
    z = np.pad(u, ((0, 0), (0, 2))) @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    frame = turn_towards(z, u)
    np.testing.assert_allclose(frame @ frame.T, np.eye(2), atol=1e-10)
    np.testing.assert_allclose(z @ frame.T, u, atol=0.5)


def test_an_unrolled_arc_does_not_overlap_and_a_closed_circle_does():
    """A chart that follows the coordinates of the circle misses points by half a diameter."""
    for turn, least, most in ((1.6 * np.pi, 0, 0.1), (2 * np.pi, 2, 3)):
        x, _ = arc(800, turn)
        z = x / x.std(0)
        indices, u = geodesic_embedding(jr.key(0), z, 1)
        assert least <= overlap(z[indices], u) < most
