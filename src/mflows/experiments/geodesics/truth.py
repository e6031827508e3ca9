"""True lengths of geodesics, of points (N, D) at both ends, shape (N,)."""

from itertools import product
from math import gcd

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from mflows.simulators import PolynomialSurface
from mflows.simulators.rolled import SwissRoll

MESH, REACH, EXTENT = 0.03, 5, 7.0
"""Spacing of the mesh over z, how far its edges reach, half of its width."""


def great_circles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the unit sphere."""
    return np.arccos(np.clip((a * b).sum(axis=1), -1, 1))


def unrolled(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the swiss roll: straight lines over the arc length of its spiral and its height."""
    flat = []
    for x in (a, b):
        t, height = np.asarray(SwissRoll().unembed(x), np.float64).T
        arc = (t * np.sqrt(1 + t**2) + np.arcsinh(t)) / 2
        flat.append(np.stack([arc, height], axis=1))
    return np.linalg.norm(flat[0] - flat[1], axis=1)


def by_scipy(a: np.ndarray, b: np.ndarray, steps: int = 128) -> np.ndarray:
    """Of the polynomial surface: curves of least energy over its plane, by SciPy's L-BFGS."""
    truth = PolynomialSurface()

    @jax.jit
    @jax.value_and_grad
    def energy(inner, ends):
        z = jnp.concatenate([ends[:1], inner.reshape(-1, 2), ends[1:]])
        return steps * jnp.square(jnp.diff(truth.embed(z), axis=0)).sum()

    found = []
    with jax.enable_x64(True):
        for ends in np.stack([truth.unembed(a), truth.unembed(b)], axis=1).astype(np.float64):
            start = np.linspace(ends[0], ends[1], steps + 1)
            best = minimize(
                lambda inner, ends=ends: [np.array(each) for each in energy(inner, ends)],
                start[1:-1].ravel(),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-14, "gtol": 1e-10},
            )
            z = np.vstack([ends[:1], best.x.reshape(-1, 2), ends[1:]])
            x = np.asarray(truth.embed(z))[None]
            found.append((4 * lengths_of(x) - lengths_of(x[:, ::2]))[0] / 3)
    return np.array(found)


def over_mesh(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the polynomial surface: shortest paths over a mesh, from above."""
    truth = PolynomialSurface()
    side = round(2 * EXTENT / MESH) + 1
    axis = np.linspace(-EXTENT, EXTENT, side)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    x = np.asarray(truth.embed(z), np.float64)
    index = np.arange(side * side).reshape(side, side)
    starts, ends, lengths = [], [], []
    for i, j in product(range(REACH + 1), range(-REACH, REACH + 1)):
        if gcd(i, j) != 1 or (i == 0 and j < 0):
            continue
        here = (slice(None, side - i), slice(max(-j, 0), side - max(j, 0)))
        there = (slice(i, None), slice(max(j, 0), side + min(j, 0)))
        middle = np.asarray(truth.embed((z[here] + z[there]) / 2), np.float64)
        first, second = (np.linalg.norm(middle - x[at], axis=-1) for at in (here, there))
        starts.append(index[here].ravel())
        ends.append(index[there].ravel())
        lengths.append((first + second).ravel())
    where = np.concatenate(starts), np.concatenate(ends)
    graph = csr_matrix((np.concatenate(lengths), where), shape=(side * side, side * side))
    nodes = [
        np.ravel_multi_index(
            tuple(
                np.rint((np.asarray(truth.unembed(p)).T + EXTENT) / MESH)
                .astype(int)
                .clip(0, side - 1)
            ),
            (side, side),
        )
        for p in (a, b)
    ]
    found = dijkstra(graph, directed=False, indices=nodes[0])[np.arange(len(a)), nodes[1]]
    # The ends are moved to the mesh: so is the length, as a distance in space is.
    flat = x.reshape(-1, 3)
    moved = np.linalg.norm(a - b, axis=1) / np.linalg.norm(flat[nodes[0]] - flat[nodes[1]], axis=1)
    return found * moved


def lengths_of(x: np.ndarray) -> np.ndarray:
    """Lengths of polygons (..., T, D)."""
    return np.linalg.norm(np.diff(x, axis=-2), axis=-1).sum(axis=-1)
