r"""Shapes that are a graph over no plane: what makes manifold learning fail.

Each is one sheet, bent until its projections overlap. They are noise-free and uniform in their
generating coordinates, so the reconstruction error of a learned manifold has no floor.

* swiss roll, n = 2 in D = 3:  (t cos t, h, t sin t),  t in [3 pi/2, 9 pi/2],  h in [0, 21]
* S-curve, n = 2 in D = 6:  (sin t, sgn(t) (cos t - 1), h) with t in [-9 pi/5, 9 pi/5], each arc
  9/10 of a circle, so nearly closed; three smooth extra coordinates; a fixed rotation of R^6
* spiral, n = 1 in D = 2:  (t cos t, t sin t),  t in [pi/2, 9 pi/2]: two turns
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray


class Shape(NamedTuple):
    """A bent sheet.

    Args:
        latent_dim: Its dimension n.
        draw: ``(key, count) -> x`` of shape (count, D).
    """

    latent_dim: int
    draw: Callable[[PRNGKeyArray, int], Float[Array, "count D"]]


def swiss_roll(key: PRNGKeyArray, count: int) -> Float[Array, "count 3"]:
    """Points of the swiss roll."""
    turn, height = jr.uniform(key, (2, count))
    t = 1.5 * jnp.pi * (1 + 2 * turn)
    return jnp.stack((t * jnp.cos(t), 21 * height, t * jnp.sin(t)), axis=-1)


def s_curve(key: PRNGKeyArray, count: int) -> Float[Array, "count 6"]:
    """Points of the nearly closed S-curve in six dimensions."""
    along, height = jr.uniform(key, (2, count), minval=-1.0)
    t = 9 / 5 * jnp.pi * along
    bent = (jnp.sin(t), jnp.sign(t) * (jnp.cos(t) - 1), height)
    smooth = (
        0.3 * jnp.sin(0.7 * t + height),
        0.3 * jnp.cos(1.5 * height),
        0.3 * jnp.sin(0.5 * t) * height,
    )
    rotation, _ = jnp.linalg.qr(jr.normal(jr.key(6), (6, 6)))
    return jnp.stack(bent + smooth, axis=-1) @ rotation


def spiral(key: PRNGKeyArray, count: int) -> Float[Array, "count 2"]:
    """Points of the spiral with two turns."""
    t = jnp.pi * (0.5 + 4 * jr.uniform(key, (count,)))
    return jnp.stack((t * jnp.cos(t), t * jnp.sin(t)), axis=-1)


SHAPES = {
    "swiss-roll": Shape(2, swiss_roll),
    "s-curve": Shape(2, s_curve),
    "spiral": Shape(1, spiral),
}
