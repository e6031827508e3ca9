"""A few points that are alone do not decide over planes and unrolling."""

import jax.random as jr
import numpy as np

from mflows.geometry import NO_PLANE, choose_plane, conflict, in_company


def curve(count: int = 300) -> np.ndarray:
    t = np.random.default_rng(1).random(count)
    x = np.stack([np.sin(3 * t), np.cos(2 * t), t**2 - t], 1)
    return (x - x.mean(0)) / x.std(0)


def test_points_alone_are_few_and_found():
    z = curve()
    assert in_company(z).all()
    z[17] = -40
    assert np.flatnonzero(~in_company(z)).tolist() == [17]
    z[::10] = 40 * np.random.default_rng(0).normal(size=(30, 3))  # too many to be errors
    assert in_company(z).all()


def test_a_bad_row_does_not_make_a_graph_look_rolled():
    z = curve()
    z[17] = -40
    plane = choose_plane(jr.key(0), z, 1)
    assert plane.score <= NO_PLANE
    kept = z[in_company(z)]
    assert conflict(kept, kept @ plane.frame.T) <= NO_PLANE
