r"""Heavy tails: a map of the line that gives a normal the tails of a power law.

    T(z) = sign(z) k / lambda ((erfc(|z| / sqrt 2))^-lambda - 1),    k = sqrt(pi / 2)

A flow whose layers are the identity far out keeps the tails of its base, and a normal has no large
values. T turns them into tails of index lambda, P(|x| > t) ~ t^(-1/lambda), with slope 1 at 0
(Hickling & Prangle 2024, arXiv 2406.16971, but for the factor k). lambda may differ between the two
sides; for lambda = 0 a side is left as it is. Far out T goes on as a straight line (``FAR``).
lambda is estimated from data, not trained: the mean of log(x_i / x_k) over the k largest (Hill
1975, Ann. Statist. 3:1163).
"""

import math

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtri
from jaxtyping import Array, Float

SLOPE = math.sqrt(math.pi / 2)
LIGHT = 0.3
"""Index up to which tails are left as they are: the estimate gives .17 for a normal and .27 for an
exponential distribution."""
FAR = 40.0
"""T is a straight line beyond sqrt(2 FAR / lambda), where it is some e^40 standard deviations. No
data are there, but a chart that learns may put points there, and the power would be infinite."""
LARGEST = 0.05
"""Part of the rows from which the index of a tail is estimated, at least ten."""


def heavier(z: Float[Array, "..."], index: Float[Array, "2 ..."]) -> tuple[Array, Array]:
    """T(z), and log dT/dz, of every number; ``index`` holds lambda below and above 0."""
    side = jnp.where(z < 0, index[0], index[1])
    some = jnp.where(side > 0, side, 1.0)
    size = jnp.where(side > 0, jnp.abs(z), 0.0)
    near = jnp.minimum(size, _far(some))
    value, slope = _curved(near, some)
    value = jnp.sign(z) * (value + jnp.exp(slope) * (size - near))
    return jnp.where(side > 0, value, z), jnp.where(side > 0, slope, 0.0)


def lighter(x: Float[Array, "..."], index: Float[Array, "2 ..."]) -> tuple[Array, Array]:
    """The inverse of T, and the logarithm of its slope."""
    side = jnp.where(x < 0, index[0], index[1])
    some = jnp.where(side > 0, side, 1.0)
    size, (most, steepest) = jnp.where(side > 0, jnp.abs(x), 0.0), _curved(_far(some), some)
    near = jnp.minimum(size, most)
    depth = jnp.log1p(some * near / SLOPE) / some
    z = jnp.where(depth < 60, -ndtri(jnp.exp(-jnp.minimum(depth, 60.0)) / 2), jnp.sqrt(2 * depth))
    for _ in range(3):  # Newton, of -log erfc, which is convex and nearly a parabola
        hazard = jnp.exp(-(z**2) / 2 - math.log(math.sqrt(2 * math.pi)) - log_ndtr(-z))
        z = jnp.maximum(z + (_log_erfc(z) + depth) / hazard, 0.0)
    z = z + jnp.exp(-steepest) * (size - near)
    z = jnp.where(side > 0, jnp.sign(x) * z, x)
    return z, -heavier(z, index)[1]


def _far(some: Array) -> Array:
    """Where T goes on as a straight line."""
    return jnp.sqrt(2 * FAR / some)


def _curved(z: Array, some: Array) -> tuple[Array, Array]:
    """T and log dT/dz for z from 0 to ``_far``."""
    tail = _log_erfc(z)
    return SLOPE / some * jnp.expm1(-some * tail), -(some + 1) * tail - z**2 / 2


def _log_erfc(z: Array) -> Array:
    """Log erfc(z / sqrt 2) of numbers from 0 on."""
    return math.log(2) + log_ndtr(-z)


def tail_indices(z: Float[np.ndarray, "N ..."]) -> Float[np.ndarray, "2 ..."]:
    """Indices lambda of the lower and upper tails of standardised columns; 0 for light ones."""
    few = max(round(LARGEST * len(z)), 10)
    found = []
    for side in (-z, z):
        if len(z) < 2 * few:
            found.append(np.zeros(z.shape[1:]))
            continue
        largest = np.partition(side, len(side) - few - 1, axis=0)[-few - 1 :]
        threshold = largest.min(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            index = np.log(np.maximum(largest, threshold) / threshold).sum(0) / few
        found.append(np.where((threshold > 0.5) & (index > LIGHT), index, 0.0))
    return np.stack(found)
