r"""Starting planes: the projection in which a manifold comes nearest to being a graph.

A chart that starts at the identity keeps n coordinates of a plane, which should be one over which
the manifold is a graph. For coordinates u_i of points z_i, n numbers
per point (a projection, or an embedding of another kind), the conflict is

    c(u) = Q_i( max_{j in N8(u_i)} |z_j - z_i| ) / Q_i( max_{j in N8(z_i)} |z_j - z_i| )

where N8 are the 8 nearest neighbours and Q is the 99% quantile. The quotient has no unit: it is
near 1 for an isometric chart, a little more on a graph with slopes, and as large as the distance
between two sheets in neighbour spacings wherever a projection lays one sheet over another. Noise
in many dimensions moves both parts alike.

``choose_plane`` tries principal planes, coordinate planes and random ones and refines the best by
random steps. It searches on the mean over points and neighbours: smoother, and on a closed surface,
where no plane serves, it is least where one sheet has few points, so that the seam comes to lie
there. Points that do not span the space, as in many dimensions, are searched for a plane within
their span.
"""

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from mflows.keys import generator

NO_PLANE = 3.0
"""Conflict above which no plane serves.

Measured best planes: graphs 1.0 to 2.3 (polynomial surface, oblique sheet in six dimensions),
rolls and folds 5.5 to 8.5 (swiss roll, S-curve), two turns of a spiral 35 to 44, sphere 11, circle
81 to 89. Noise lies between: images of digits 1.4 at n = 10 and 1.8 to 3.7 at n = 2, a normal in
three dimensions 3.5 to 4.0. So a warm start should also ask whether the embedding's own conflict is
lower.
"""

NEIGHBOURS = 8
QUANTILE = 0.99
ALONE = 20.0
"""Distance to the farthest of the neighbours, in its median, from which on a point is alone."""
FEW = 0.02
"""Part of the points that may be alone; of more, the distances say nothing."""
ROWS = 20
"""Rows for each dimension from which principal axes are known to a percent or two."""
SMALL = 1e9
"""Size N D^2 up to which a singular value decomposition is worth its time."""
TOLERANCE = 1.05
STARTS = 3


class Plane(NamedTuple):
    """A starting plane.

    Args:
        frame: Orthonormal rows that span the plane, shape (n, D).
        score: Conflict of the projection to the plane; above ``NO_PLANE``, no plane serves.
    """

    frame: Float[np.ndarray, "n D"]
    score: float


def neighbours_of(u: np.ndarray) -> np.ndarray:
    """Find the nearest neighbours of every point, shape (N, 8)."""
    count = min(NEIGHBOURS + 1, len(u))
    if u.shape[1] < 5:
        return np.asarray(KDTree(u).query(u, count)[1]).reshape(len(u), count)[:, 1:]
    from sklearn.neighbors import NearestNeighbors  # imports pandas: slow, and only needed here

    search = NearestNeighbors(n_neighbors=count, algorithm="brute")
    return np.asarray(search.fit(u).kneighbors(u, return_distance=False))[:, 1:]


def in_company(z: Float[np.ndarray, "N D"]) -> np.ndarray:
    """Which points have others near them, shape (N,); all, where more than a few have none.

    A point that is alone, such as a row of sentinels, is no part of a manifold, and no plane or
    embedding should be judged by it.
    """
    near = neighbours_of(z)
    apart = np.linalg.norm(z[near] - z[:, None], axis=2).max(1)
    alone = apart > ALONE * np.median(apart)
    return ~alone if alone.mean() <= FEW else np.ones(len(z), dtype=bool)


def conflict(z: Float[np.ndarray, "N D"], u: Float[np.ndarray, "N n"]) -> float:
    """How far apart in space neighbours in the coordinates u lie: 1 is best.

    Args:
        z: Standardised points, shape (N, D), a few thousand at most.
        u: Their coordinates, shape (N, n), for example ``z @ frame.T``.
    """
    spread, unit = (
        np.quantile([np.linalg.norm(z[near] - at, axis=1).max() for near, at in ends], QUANTILE)
        for ends in (zip(neighbours_of(v), z, strict=True) for v in (u, z))
    )
    return float(spread / max(unit, np.finfo(float).tiny))


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """Find the nearest orthonormal rows."""
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    return left @ right


def rows_for(dim: int, least: int) -> int:
    """How many rows principal axes are judged on: of fewer they follow the noise of these rows."""
    return max(least, ROWS * dim)


def principal_axes(z: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "r D"]:
    """Principal axes of centred points, no more than their span has dimensions, shape (r, D)."""
    points, dim = z.shape
    if dim <= points and points * dim**2 <= SMALL:
        _, values, axes = np.linalg.svd(z, full_matrices=False)
        return axes[values > np.finfo(float).eps * points * values[0]]
    gram = z.T @ z if dim <= points else z @ z.T
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > np.finfo(float).eps * len(z) * squares[-1]
    vectors = vectors[:, kept].T[::-1]
    if dim <= points:
        return vectors
    return (vectors / np.sqrt(squares[kept][::-1])[:, None]) @ z


def _subsets(rng: np.random.Generator, axes: np.ndarray, n: int, count: int) -> list[np.ndarray]:
    """Planes spanned by n of the rows of ``axes``: all, or the first and random others."""
    if comb(len(axes), n) <= count:
        chosen = combinations(range(len(axes)), n)
    else:
        chosen = [range(n), *(rng.choice(len(axes), n, replace=False) for _ in range(count - 1))]
    return [_orthonormal(axes[list(rows)]) for rows in chosen]


class _Searched(NamedTuple):
    """Points, shape (N, D), the distances between them, shape (N, N), and a source of steps."""

    rng: np.random.Generator
    z: np.ndarray
    apart: np.ndarray

    def mean(self, frame: np.ndarray) -> float:
        """Mean distance between neighbours in a plane."""
        return float(np.take_along_axis(self.apart, neighbours_of(self.z @ frame.T), axis=1).mean())

    def refined(self, frame: np.ndarray, mean: float, steps: int) -> tuple[np.ndarray, float]:
        """Random steps that shrink while they fail, kept where the mean falls."""
        size = 0.5
        for _ in range(steps):
            noise = self.rng.normal(size=frame.shape) / np.sqrt(frame.shape[1])
            trial = _orthonormal(frame + size * noise)
            value = self.mean(trial)
            size *= 1.5 if value < mean else 0.93
            if value < mean:
                frame, mean = trial, value
        return frame, mean

    def best(self, frames: list[np.ndarray], steps: int) -> np.ndarray:
        """Choose among the planes, the first of them refined."""
        tried = [(frame, self.mean(frame)) for frame in frames]
        tried.sort(key=lambda pair: pair[1])
        tried += [self.refined(*pair, steps) for pair in tried[:STARTS]]
        least = min(mean for _, mean in tried)
        good = [frame for frame, mean in tried if mean <= TOLERANCE * least]
        return max(good, key=lambda rows: np.var(self.z @ rows.T, axis=0).sum())


def choose_plane(
    key: PRNGKeyArray,
    z: Float[np.ndarray, "N D"],
    n: int,
    *,
    points: int = 700,
    candidates: int = 32,
    steps: int = 100,
) -> Plane:
    """Find the plane with the least conflict, deterministic in the key.

    Among the planes tried that come within 5% of the best, the one with the largest variance is
    taken, so data that prefer no plane get the principal one.

    Args:
        key: Random key.
        z: Standardised points, shape (N, D).
        n: Dimension of the plane, at most D.
        points: Number of points to search on; the final score uses three times as many.
        candidates: Number of planes of each of the three kinds to try.
        steps: Number of random steps that refine each of the best three planes.
    """
    rng = generator(key)
    order, dim = rng.permutation(len(z)), z.shape[1]
    scored = np.asarray(z[order[: 3 * points]], float)
    scored = scored[in_company(scored)]
    more = np.asarray(z[order[3 * points : rows_for(dim, 3 * points)]], float)
    rows = np.concatenate([scored, more]) if len(more) else scored
    axes = principal_axes(rows - rows.mean(0))
    if len(axes) <= n:  # some plane holds all points
        frame = np.linalg.qr(np.vstack((axes, rng.normal(size=(n - len(axes), dim)))).T)[0].T
        return Plane(frame, conflict(scored, scored @ frame.T))
    if len(axes) == dim:
        principal, coordinate = axes, np.eye(dim)
    else:  # within the span all distances are the same, and there is less to search
        centred = scored - scored.mean(0)
        principal, coordinate, scored = np.eye(len(axes)), axes.T, centred @ axes.T
    searched = _Searched(rng, scored[:points], cdist(scored[:points], scored[:points]))
    frames = [
        *_subsets(rng, principal, n, candidates),
        *map(_orthonormal, _subsets(rng, coordinate, n, candidates)),
        *(_orthonormal(rng.normal(size=(n, len(axes)))) for _ in range(candidates)),
    ]
    frame = searched.best(frames, steps)
    score = conflict(scored, scored @ frame.T)
    return Plane(frame if len(axes) == dim else _orthonormal(frame @ axes), score)
