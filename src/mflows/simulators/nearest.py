r"""Nearest point on a graph {(z, f(z))} over the plane, found globally.

The foot z_0 vertically below a point (z_0, h) is at distance r = |h - f(z_0)|, so the nearest
point lies over the disc of radius r around z_0. A polar grid on that disc shows the basins; from
its lowest local minima a damped Newton method minimises

    L(z) = 1/2 |z - z_0|^2 + 1/2 (f(z) - h)^2.

With e = f - h, its gradient and Hessian are

    g = z - z_0 + e grad f,    H = I + grad f grad f^T + e hess f,

and a step solves (H + mu I) p = -g with Levenberg's damping mu. Gauss-Newton, which drops
e hess f, stalls here: far from the surface e is as large as the radius of curvature. The best of
the minima and the foot is the answer, so it is never farther than the foot. A point on the graph
has r = 0 and is its own nearest point.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

RINGS, ANGLES = 12, 32
STARTS = 3
STEPS = 32
EASE, STRAIN = 0.1, 4.0  # factors on the damping after a step that is kept, or not

Height = Callable[[Float[Array, " 2"]], Float[Array, ""]]


class _Place(NamedTuple):
    """A point in the plane, with L, its gradient and its Hessian there."""

    z: Float[Array, " 2"]
    loss: Float[Array, ""]
    gradient: Float[Array, " 2"]
    hessian: Float[Array, "2 2"]


def _unit_disc() -> np.ndarray:
    """Make a polar grid on the unit disc, shape (RINGS, ANGLES, 2)."""
    radius = np.arange(1, RINGS + 1)[:, None] / RINGS
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _lowest_minima(
    centre: Float[Array, ""], loss: Float[Array, "rings angles"]
) -> Float[Array, " starts"]:
    """Find the lowest local minima of a polar grid: indices into (centre, *rings)."""
    inner = jnp.concatenate([jnp.full((1, ANGLES), centre), loss[:-1]])
    outer = jnp.concatenate([loss[1:], jnp.full((1, ANGLES), jnp.inf, loss.dtype)])
    sides = jnp.minimum(jnp.roll(loss, 1, axis=1), jnp.roll(loss, -1, axis=1))
    minimal = loss <= jnp.minimum(jnp.minimum(inner, outer), sides)
    minima = jnp.append(
        jnp.where(centre <= loss[0].min(), centre, jnp.inf), jnp.where(minimal, loss, jnp.inf)
    )
    return jax.lax.top_k(-minima, STARTS)[1]


def _newton_step(place: _Place, damping: Float[Array, ""]) -> Float[Array, " 2"]:
    """Solve (H + mu I) p = -g; mu also lifts a negative eigenvalue of H."""
    (a, b), (_, d) = place.hessian
    lowest = (a + d) / 2 - jnp.hypot((a - d) / 2, b)
    mu = damping + jnp.maximum(-2 * lowest, 0)
    a, d = a + mu, d + mu
    g0, g1 = place.gradient
    return jnp.stack([b * g1 - d * g0, b * g0 - a * g1]) / (a * d - b * b)


def nearest_on_graph(height: Height, point: Float[Array, " 3"]) -> Float[Array, " 2"]:
    """Find the z for which (z, height(z)) is nearest to one ``point`` = (z_0, h).

    Args:
        height: Smooth function of one z of shape (2,).
        point: A point of shape (3,), in the units of z and of the height.
    """
    foot, h = point[:2], point[2]

    def loss(z):
        return (jnp.sum((z - foot) ** 2) + (height(z) - h) ** 2) / 2

    def place(z):
        error, slope = height(z) - h, jax.grad(height)(z)
        hessian = jnp.eye(2) + jnp.outer(slope, slope) + error * jax.hessian(height)(z)
        return _Place(z, loss(z), z - foot + error * slope, hessian)

    def step(carry, _):
        here, damping = carry
        there = place(here.z + _newton_step(here, damping))
        better = there.loss < here.loss
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), there, here)
        return (kept, damping * jnp.where(better, EASE, STRAIN)), None

    def refine(start):
        # The first step has length 0 and is always kept: it computes the derivatives at the start.
        unknown = _Place(start, jnp.full((), jnp.inf), jnp.zeros(2), jnp.eye(2))
        return jax.lax.scan(step, (unknown, jnp.ones(())), None, length=STEPS)[0][0].z

    rings = foot + jnp.abs(height(foot) - h) * jnp.asarray(_unit_disc(), point.dtype)
    lowest = _lowest_minima(loss(foot), jax.vmap(jax.vmap(loss))(rings))
    starts = jnp.concatenate([foot[None], rings.reshape(-1, 2)])[lowest]
    candidates = jnp.concatenate([foot[None], jax.vmap(refine)(starts)])
    return candidates[jnp.argmin(jax.vmap(loss)(candidates))]
