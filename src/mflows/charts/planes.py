r"""Starting planes: the projection in which a manifold comes nearest to being a graph.

A chart that starts at the identity keeps the first n coordinates of R z, so the rotation R should
put a plane there on which the manifold is a graph. For coordinates u_i of points z_i, n numbers
per point (a projection, or an embedding of another kind), the conflict is

    c(u) = Q_i( max_{j in N8(u_i)} |z_j - z_i| ) / Q_i( max_{j in N8(z_i)} |z_j - z_i| )

where N8 are the 8 nearest neighbours and Q is the 99% quantile. The quotient has no unit: it is
near 1 for an isometric chart, a little more on a graph with slopes, and as large as the distance
between two sheets in neighbour spacings wherever a projection lays one sheet over another. Noise
in many dimensions moves both parts alike. ``choose_plane`` searches the coordinate planes,
principal planes and random planes, then refines the best one by random steps.
"""

from itertools import combinations, islice
from math import comb
from typing import NamedTuple

import jax.random as jr
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.linalg import null_space
from scipy.spatial import cKDTree

NO_PLANE = 3.0
NEIGHBOURS = 8
QUANTILE = 0.99
TOLERANCE = 1.1


class Plane(NamedTuple):
    """A starting plane.

    Args:
        rotation: Orthogonal matrix, shape (D, D); its first n rows span the plane.
        score: Conflict of the projection to the plane; above ``NO_PLANE``, no plane serves.
    """

    rotation: Float[np.ndarray, "D D"]
    score: float


def _spread(z: np.ndarray, u: np.ndarray) -> float:
    """Quantile over points of the largest distance in z among the nearest neighbours in u."""
    _, near = cKDTree(u).query(u, min(NEIGHBOURS + 1, len(u)))
    return float(np.quantile(np.linalg.norm(z[near] - z[:, None], axis=-1).max(1), QUANTILE))


def conflict(z: Float[np.ndarray, "N D"], u: Float[np.ndarray, "N n"]) -> float:
    """How far apart in space neighbours in the coordinates u lie: 1 is best.

    Args:
        z: Standardised points, shape (N, D).
        u: Their coordinates, shape (N, n), for example ``z @ frame.T``.
    """
    return _spread(z, u) / max(_spread(z, z), np.finfo(float).tiny)


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """The nearest orthonormal rows."""
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    return left @ right


def _subsets(rng: np.random.Generator, axes: np.ndarray, n: int, count: int) -> list[np.ndarray]:
    """Planes spanned by n of the rows of ``axes``: all, or the first and random others."""
    if comb(len(axes), n) <= count:
        chosen = combinations(range(len(axes)), n)
    else:
        others = (rng.choice(len(axes), n, replace=False) for _ in range(count - 1))
        chosen = [range(n), *islice(others, count - 1)]
    return [axes[list(rows)] for rows in chosen]


def choose_plane(
    key: PRNGKeyArray,
    z: Float[np.ndarray, "N D"],
    n: int,
    *,
    points: int = 2000,
    candidates: int = 40,
    steps: int = 80,
) -> Plane:
    """Find the plane with the least conflict, deterministic in the key.

    Among the planes tried that score within 10% of the best, the one with the largest variance is
    taken, so data that prefer no plane get the principal one.

    Args:
        key: Random key.
        z: Standardised points, shape (N, D).
        n: Dimension of the plane, at most D.
        points: Number of points to score on, drawn without replacement.
        candidates: Number of planes of each of the three kinds to try.
        steps: Number of random steps that refine the best plane.
    """
    z = np.asarray(z, float)
    rng = np.random.default_rng(np.asarray(jr.key_data(key)).ravel())
    dim = z.shape[1]
    z = z[rng.permutation(len(z))[:points]]
    z = z - z.mean(0)
    unit = max(_spread(z, z), np.finfo(float).tiny)
    principal = np.linalg.svd(z.T @ z)[2]
    frames = [
        *_subsets(rng, principal, n, candidates),
        *_subsets(rng, np.eye(dim), n, candidates),
        *(_orthonormal(rng.normal(size=(n, dim))) for _ in range(candidates)),
    ]
    scores = [_spread(z, z @ frame.T) / unit for frame in frames]
    best = int(np.argmin(scores))
    frame, score = frames[best], scores[best]
    for size in np.geomspace(0.5, 0.05, steps):
        trial = _orthonormal(frame + size / np.sqrt(dim) * rng.normal(size=frame.shape))
        value = _spread(z, z @ trial.T) / unit
        if value < score:
            frame, score = trial, value
    frames, scores = [*frames, frame], [*scores, score]
    good = [i for i, value in enumerate(scores) if value <= TOLERANCE * score]
    chosen = max(good, key=lambda i: np.var(z @ frames[i].T, axis=0).sum())
    rows = frames[chosen]
    return Plane(np.concatenate([rows, null_space(rows).T]), scores[chosen])
