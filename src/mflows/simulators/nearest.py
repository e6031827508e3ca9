r"""Nearest point on a graph {(z, f(z))} over the plane, found globally.

The foot z_0 vertically below a point (z_0, h) is at distance r = |h - f(z_0)|, so the nearest
point lies over the disc of radius r around z_0. A polar grid on that disc shows the basins; from
its lowest local minima Levenberg-Marquardt minimises

    1/2 |z - z_0|^2 + 1/2 (f(z) - h)^2,

and a few Newton steps finish, because Gauss-Newton converges slowly where the residual is large
and the surface curved. The best of these and the foot is the answer, so it is never farther than
the foot. A point on the graph has r = 0 and is its own nearest point.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

RINGS, ANGLES = 12, 32
STARTS = 3
STEPS = 32
NEWTON_STEPS = 6
TOLERANCE = 1e-5  # of Levenberg-Marquardt; Newton takes it to rounding

Height = Callable[[Float[Array, " 2"]], Float[Array, ""]]


def _unit_disc() -> np.ndarray:
    """Make a polar grid on the unit disc, shape (RINGS, ANGLES, 2)."""
    radius = np.arange(1, RINGS + 1)[:, None] / RINGS
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _lowest_minima(
    loss: Float[Array, "rings angles"], centre: Float[Array, ""]
) -> Float[Array, " starts"]:
    """Find flat indices of the lowest local minima of a polar grid around ``centre``."""
    outside = jnp.full((1, ANGLES), jnp.inf, loss.dtype)
    inner = jnp.concatenate([jnp.full((1, ANGLES), centre), loss[:-1]])
    outer = jnp.concatenate([loss[1:], outside])
    sides = jnp.minimum(jnp.roll(loss, 1, axis=1), jnp.roll(loss, -1, axis=1))
    minimal = loss <= jnp.minimum(jnp.minimum(inner, outer), sides)
    return jax.lax.top_k(-jnp.where(minimal, loss, jnp.inf).ravel(), STARTS)[1]


def nearest_on_graph(height: Height, point: Float[Array, " 3"]) -> Float[Array, " 2"]:
    """Find the z for which (z, height(z)) is nearest to one ``point`` = (z_0, h).

    Args:
        height: Smooth function of one z of shape (2,).
        point: A point of shape (3,), in the units of z and of the height.
    """
    foot, h = point[:2], point[2]

    def residual(z, _=None):
        return jnp.append(z - foot, height(z) - h)

    def loss(z):
        return jnp.sum(residual(z) ** 2) / 2

    solver = optx.LevenbergMarquardt(
        rtol=TOLERANCE, atol=TOLERANCE, linear_solver=lx.Normal(lx.Cholesky())
    )

    def refine(start):
        return optx.least_squares(residual, solver, start, max_steps=STEPS, throw=False).value

    def newton(z, _):
        step = jnp.linalg.solve(jax.hessian(loss)(z), jax.grad(loss)(z))
        return jnp.where(loss(z - step) < loss(z), z - step, z), None

    def best(candidates):
        return candidates[jnp.argmin(jax.vmap(loss)(candidates))]

    grid = foot + jnp.abs(height(foot) - h) * jnp.asarray(_unit_disc(), point.dtype)
    starts = _lowest_minima(jax.vmap(jax.vmap(loss))(grid), loss(foot))
    refined = best(jax.vmap(refine)(grid.reshape(-1, 2)[starts]))
    polished = jax.lax.scan(newton, refined, None, length=NEWTON_STEPS)[0]
    return best(jnp.stack([foot, polished]))
