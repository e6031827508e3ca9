r"""Geodesic warm start: supervise the chart with an unrolled copy of the data.

A rolled or folded sheet is a graph over no plane, and reconstruction alone then tears it. But
geodesic distances do not see the rolling: with d_ij the shortest paths through the graph of
nearest neighbours and l the landmarks, classical scaling gives coordinates

    u_i = -1/2 diag(w)^-1/2 V^T (d_il^2 - mean_l d^2),    -1/2 J d_ll'^2 J = V diag(w) V^T

with J the centring matrix (Tenenbaum et al. 2000, Science 290:2319; with landmarks: de Silva &
Tenenbaum 2003, NIPS 15). Once u is known both directions of the bijection f are supervised,

    L = |f^-1(z) - (u, 0)|^2 + |f(u, 0) - z|^2,

which a deep enough stack of couplings solves by regression (``mflows.training.objectives``). The
latents are scaled into the splines' interval, and z is turned so that its first n axes agree best
with u.

Depth decides: 16 layers serve sheets rolled up in three or more dimensions and two turns of a curve
in the plane, where 6 fail.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import KDTree

from mflows.geometry.planes import neighbours_of
from mflows.keys import generator

EXTENT = 4.0
GAIN = 0.6


class Embedding(NamedTuple):
    """An unrolled copy of data.

    Args:
        indices: Which points were embedded, shape (M,).
        u: Their coordinates, centred and within ``EXTENT`` of zero, shape (M, n).
    """

    indices: Int[np.ndarray, " M"]
    u: Float[np.ndarray, "M n"]


def _edges(lengths: np.ndarray, a: np.ndarray, b: np.ndarray, size: int) -> csr_matrix:
    """Build an undirected graph; no edge is so short that a sparse matrix would drop it."""
    graph = csr_matrix((np.maximum(lengths, 1e-12), (a, b)), shape=(size, size))
    return csr_matrix(graph.maximum(graph.T))


def _neighbour_graph(z: np.ndarray, neighbours: int) -> csr_matrix:
    """Graph of nearest neighbours, its parts joined where they come nearest to each other."""
    size = len(z)
    count = min(neighbours, size - 1)
    distance, near = map(np.asarray, KDTree(z).query(z, count + 1))
    origin = np.repeat(np.arange(size), count)
    graph = _edges(distance[:, 1:].ravel(), origin, near[:, 1:].ravel(), size)
    while (parts := connected_components(graph, directed=False))[0] > 1:
        bridges = []
        for part in range(parts[0]):
            inside, outside = np.flatnonzero(parts[1] == part), np.flatnonzero(parts[1] != part)
            gap, nearest = map(np.asarray, KDTree(z[outside]).query(z[inside]))
            best = np.argmin(gap)
            bridges.append((gap[best], inside[best], outside[nearest[best]]))
        lengths, a, b = (np.array(column) for column in zip(*bridges, strict=True))
        joins = _edges(lengths, a.astype(int), b.astype(int), size)
        graph = csr_matrix(graph.maximum(joins))
    return graph


def geodesic_embedding(
    key: PRNGKeyArray,
    z: Float[np.ndarray, "N D"],
    n: int,
    *,
    neighbours: int = 10,
    landmarks: int = 300,
    points: int = 10_000,
) -> Embedding:
    """Coordinates whose distances approximate geodesic ones, deterministic in the key.

    Args:
        key: Random key.
        z: Standardised points, shape (N, D), more than n of them.
        n: Dimension of the manifold.
        neighbours: Edges per point of the neighbour graph. Unconnected parts are bridged.
        landmarks: Points from which shortest paths are measured.
        points: Largest number of points to embed, drawn without replacement.
    """
    rng = generator(key)
    indices = rng.permutation(len(z))[:points]
    graph = _neighbour_graph(np.asarray(z, float)[indices], neighbours)
    marks = np.arange(min(landmarks, len(indices)))
    squares = dijkstra(graph, directed=False, indices=marks) ** 2
    mean = squares[:, marks].mean(0)
    gram = -(squares[:, marks] - mean - mean[:, None] + mean.mean()) / 2
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:n], vectors[:, ::-1][:, :n]
    u = (mean[:, None] - squares).T @ vectors / (2 * np.sqrt(np.maximum(values, 1e-12)))
    u = u - u.mean(0)
    return Embedding(indices, u * min(1.0, EXTENT / max(np.abs(u).max(), 1e-12)))


def unrolls(plane: float, embedding: float) -> bool:
    """Whether the warm start is worth while, given the conflicts of plane and embedding.

    A closed or noisy shape unrolls no better than it projects, and is left to the plane.
    """
    return embedding < GAIN * plane


def overlap(z: Float[np.ndarray, "M D"], u: Float[np.ndarray, "M n"]) -> float:
    """How far apart in space points of nearly the same coordinates lie, at the worst.

    The largest |z_i - z_j| - k |u_i - u_j| over neighbours in u, with k the median of |dz| / |du|
    over neighbours in space. An unrolled sheet has little, since a chord is no longer than the
    path beneath it. Of two points that overlap, a chart with these coordinates misses one by half
    the overlap at least.

    Measured, in standard deviations: swiss roll and S-curve of 5,400 points 0.3 to 0.5, spiral and
    arc 0. Where geodesics run round a closed shape or through a shortcut it is 2 and more: circle
    2.8, circle closed by a few points in the tails of a normal 6.1, S-curve of 1,000 points 3.4.

    Args:
        z: Standardised points, shape (M, D).
        u: Their coordinates, shape (M, n).
    """

    def lengths(near):
        return (np.linalg.norm(v[near] - v[:, None], axis=2) for v in (z, u))

    dz, du = lengths(neighbours_of(z))
    unit = np.median(dz / np.maximum(du, np.finfo(float).tiny))
    dz, du = lengths(neighbours_of(u))
    return float((dz - unit * du).max())


def turn_towards(
    z: Float[np.ndarray, "M D"], u: Float[np.ndarray, "M n"]
) -> Float[np.ndarray, "n D"]:
    """Orthonormal rows F for which the coordinates F z agree best with u."""
    left, _, right = np.linalg.svd((z - z.mean(0)).T @ u, full_matrices=False)
    return (left @ right).T
