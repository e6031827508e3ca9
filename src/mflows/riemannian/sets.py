r"""Sets of points on a learned manifold: distances, their mean, the geodesic of their spread.

The Frechet mean m minimises the sum of squared geodesic distances. There the logarithms of the
points, the initial velocities v_i of the geodesics from m to them, add up to zero (Pennec 2006). In
the tangent space of m, with the metric G = J^T J, principal components of the v_i say along which
geodesic the set spreads most (Fletcher et al. 2004). That geodesic solves

    J^T (J u'' + d^2 g(u', u')) = 0,

its acceleration in space is normal to the manifold.
"""

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from mflows.batches import at_point
from mflows.flow import Flow
from mflows.layers.placement import unit_of
from mflows.riemannian.geodesics import STEPS, Search, over_pairs, without_density

ITERATIONS = 30
"""Steps towards a mean."""
TOLERANCE = 1e-3
"""Largest mean of the logarithms, relative to their spread, at a mean."""
FINE = 1e-5
"""Tolerance of a search whose direction counts, not its length alone."""
EXTENT = 2.0
"""Standard deviations that a principal geodesic reaches to both sides."""


class GeodesicWarning(UserWarning):
    """A search for geodesics, or for a mean, has not converged."""


class FrechetMean(NamedTuple):
    """The mean of points on a manifold.

    Args:
        x: In the data's units, shape ``shape``.
        u: Its coordinates, shape (n,).
        variance: Mean squared geodesic distance of the points, in squared units of the data.
        logarithms: Initial velocities of the geodesics to the points, in coordinates, (N, n).
    """

    x: Array | np.ndarray
    u: Float[np.ndarray, " n"]
    variance: float
    logarithms: Float[np.ndarray, "N n"]


class PrincipalGeodesic(NamedTuple):
    """The geodesic through the mean of points along which they spread most.

    Args:
        x: Points along it in the data's units, shape (T + 1, *shape).
        u: Their coordinates, shape (T + 1, n).
        t: Where they are, in standard deviations from the mean, shape (T + 1).
        deviation: The standard deviation along it, in the data's units.
        share: Of the variance along all directions, from 0 to 1.
        mean: The mean of the points.
    """

    x: Array | np.ndarray
    u: Float[Array, "T n"]
    t: Float[np.ndarray, " T"]
    deviation: float
    share: float
    mean: FrechetMean


def distance_matrix(
    flow: Flow,
    x: ArrayLike,
    condition: ArrayLike | None = None,
    *,
    steps: int = STEPS,
    density: float = 0.0,
) -> Float[np.ndarray, "N N"]:
    """Lengths of the geodesics between all pairs of points, in the data's units.

    Args:
        flow: Any flow with a decoder and an encoder.
        x: Points, shape (N, *shape). Distances are those between their projections.
        condition: One condition for all, if the manifold depends on it, or ``density`` is used.
        steps: As for `geodesic`.
        density: As for `geodesic`.

    Returns:
        A symmetric matrix with zeros on its diagonal.

    Raises:
        ValueError: As `geodesic`.

    Warns:
        GeodesicWarning: If some of the searches have not converged.
    """
    search = Search(steps, density)
    codes, flow, condition = _codes(flow, x, condition, density)
    pairs = np.triu_indices(len(codes), 1)
    found = np.zeros((len(codes), len(codes)))
    ends = np.stack([codes[index] for index in pairs], axis=1)
    length, converged = over_pairs(_Length(search), flow, ends, condition)
    found[pairs] = length
    _warn(np.asarray(converged), "They may be too long. Take more steps.")
    return found + found.T


def frechet_mean(
    flow: Flow, x: ArrayLike, condition: ArrayLike | None = None, *, steps: int = STEPS
) -> FrechetMean:
    """The point of the manifold with the least mean squared geodesic distance to points.

    The search is local. It starts at the point of the set with the least mean squared distance in
    space.

    Args:
        flow: Any flow with a decoder and an encoder.
        x: Points, shape (N, *shape), N >= 1; their projections count.
        condition: One condition for all, if the manifold depends on it.
        steps: As for `geodesic`.

    Raises:
        ValueError: As `geodesic`.

    Warns:
        GeodesicWarning: If the search, or that for a geodesic, has not converged.
    """
    codes, flow, condition = _codes(flow, x, condition)
    flat = np.asarray(flow.decode(codes, condition)).reshape(len(codes), -1)
    start = np.square(flat - flat.mean(axis=0)).sum(axis=1).argmin()
    search = Search(steps, tolerance=FINE)
    u, step, mean = np.asarray(codes[start], np.float64), 1.0, np.zeros(codes.shape[1])
    best, converged = None, np.zeros(len(codes), bool)
    for _ in range(ITERATIONS):
        ends = np.stack([np.broadcast_to(u, codes.shape), codes], axis=1)
        velocity, length, found = map(
            np.asarray, over_pairs(_Logarithm(search), flow, ends, condition)
        )
        variance = float(np.square(length, dtype=np.float64).mean())
        if best is None or variance <= best.variance:
            mean = velocity.mean(axis=0)
            best, converged = FrechetMean(flow.decode(u, condition), u, variance, velocity), found
            frame = at_point(_frame, flow, jnp.asarray(u, float), u.shape, condition)
            size = np.linalg.norm(mean @ np.asarray(frame, np.float64))
            if size <= TOLERANCE * variance**0.5:
                break
        else:
            step /= 2
        u = best.u + step * mean
    else:
        warnings.warn(
            f"The search for the mean has not converged in {ITERATIONS} steps. Points that lie all "
            "around a closed manifold have no mean, or many; and none is found where coordinates "
            "are singular, as at the poles of a sphere.",
            GeodesicWarning,
            stacklevel=2,
        )
    _warn(converged, "The mean is not sure. Take more steps.")
    assert best is not None
    return best


def principal_geodesic(
    flow: Flow, x: ArrayLike, condition: ArrayLike | None = None, *, steps: int = STEPS
) -> PrincipalGeodesic:
    """The geodesic through the mean of points along which they spread most.

    It reaches two standard deviations to both sides. Its sign is arbitrary.

    Args:
        flow: Any flow with a decoder and an encoder.
        x: Points, shape (N, *shape), N >= 2; their projections count.
        condition: One condition for all, if the manifold depends on it.
        steps: As for `geodesic`, and of the curve.

    Raises:
        ValueError: As `geodesic`; for fewer than two points.

    Warns:
        GeodesicWarning: As `frechet_mean`.
    """
    if len(np.asarray(x)) < 2:
        raise ValueError(f"Expected two points or more; got {len(np.asarray(x))}.")
    mean = frechet_mean(flow, x, condition, steps=steps)
    flow, condition = without_density(flow, condition)
    u = jnp.asarray(mean.u, float)
    frame = np.asarray(at_point(_frame, flow, u, u.shape, condition), np.float64)
    left, singular, right = np.linalg.svd(mean.logarithms @ frame, full_matrices=False)
    variances = np.square(singular) / len(left)
    deviation = float(np.sqrt(variances[0]))
    direction = np.linalg.lstsq(frame.T, right[0] * deviation, rcond=None)[0]
    t = np.linspace(-EXTENT, EXTENT, steps + 1)
    state = jnp.stack([u, jnp.asarray(direction, float)])
    path = at_point(_Shot(steps), flow, state, state.shape, condition)
    return PrincipalGeodesic(
        flow.decode(path, condition),
        path,
        t,
        deviation,
        float(variances[0] / variances.sum()),
        mean,
    )


def _codes(flow: Flow, x: ArrayLike, condition, density: float = 0.0):
    """Coordinates of points, the flow that is asked, and its condition."""
    if not density:
        flow, condition = without_density(flow, condition)
    if condition is not None and np.shape(condition) != flow.cond_shape:
        raise ValueError(
            f"Expected one condition for all points, of shape {flow.cond_shape}; got "
            f"{np.shape(condition)}. Points of different conditions are on different manifolds."
        )
    codes = np.asarray(flow.encode(x, condition))
    if codes.ndim != 2 or not len(codes):
        raise ValueError(
            f"Expected points of shape (N, {', '.join(map(str, flow.shape))}), N >= 1; got "
            f"{np.shape(x)}."
        )
    return codes, flow, condition


def _warn(converged: np.ndarray, advice: str) -> None:
    if not converged.all():
        warnings.warn(
            f"{(~converged).sum():,} of {converged.size:,} geodesics have not converged. {advice}",
            GeodesicWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class _Length:
    search: Search

    def __call__(self, flow, ends, condition=None):
        return self.search(flow, ends, condition)[1:]


@dataclass(frozen=True)
class _Logarithm:
    """Initial velocity, length, and whether it is found."""

    search: Search

    def __call__(self, flow, ends, condition=None):
        u, length, converged = self.search(flow, ends, condition)
        tangent = 18 * u[1] - 9 * u[2] + 2 * u[3] - 11 * u[0]  # of third order in the steps
        speed = jnp.linalg.norm(tangent @ _frame(flow, u[0], condition))
        return tangent * (length / jnp.where(speed > 0, speed, 1.0)), length, converged


def _frame(flow: Flow, u, condition=None):
    """Rows J e_k of the Jacobian in the data's units, shape (n, D)."""
    return flow.chart.pushforward(u, jnp.eye(len(u)), condition)[1].reshape(len(u), -1)


@dataclass(frozen=True)
class _Shot:
    """Coordinates of the geodesic from a point with a velocity, both stacked, to both sides."""

    steps: int

    def __call__(self, flow, state, condition=None):
        unit = unit_of(flow.chart)

        def decoded(u):
            return flow.chart.decode(u, condition).ravel() / unit

        def slope(t, state, _):
            u, v = state
            frame = _frame(flow, u, condition) / unit
            bend = jax.jvp(lambda u: jax.jvp(decoded, (u,), (v,))[1], (u,), (v,))[1]
            gram = frame @ frame.T
            floor = jnp.finfo(u.dtype).eps * jnp.trace(gram) * jnp.eye(len(u))
            return jnp.stack([v, -jnp.linalg.solve(gram + floor, frame @ bend)])

        def side(sign):
            times = jnp.linspace(0, EXTENT, self.steps // 2 + 1)
            return diffrax.diffeqsolve(
                diffrax.ODETerm(slope),
                diffrax.Tsit5(),
                0.0,
                EXTENT,
                None,
                state * jnp.array([[1.0], [sign]]),
                saveat=diffrax.SaveAt(ts=times),
                stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-6),
                max_steps=2000,
            ).ys[:, 0]

        back, forth = jax.vmap(side)(jnp.array([-1.0, 1.0]))
        return jnp.concatenate([back[:0:-1], forth])
