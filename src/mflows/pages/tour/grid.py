"""A tour without a server: points and densities at a grid of coordinates, linear in between."""

import math
from typing import Any

import numpy as np

from mflows.pages.tour.guide import Guide

SIDES = {1: 201, 2: 41, 3: 17}
"""Points along each axis of a grid, by their number."""
NUMBERS = 1 << 21
"""Numbers of all points of a grid at most; of pictures eight times as many, which are bytes."""


def grid(guide: Guide) -> dict[str, Any]:
    """Points and log-densities over all coordinates, and over theta where that fits.

    Returns:
        ``axes``, A lists of values, of the coordinates and then of theta; ``theta``, the values of
        a theta that has no axes; ``x`` or ``picture``, shape (s_1, ..., s_A, *shape); and
        ``log_prob``, shape (s_1, ..., s_A), or ``None``.

    Raises:
        ValueError: If there are more than three coordinates.
    """
    flow = guide.flow
    n, conditions = flow.latent_dim, len(guide.run.condition_names)
    if n > max(SIDES):
        raise ValueError(
            f"Expected a manifold of at most {max(SIDES)} dimensions for a page without a server; "
            f"got n = {n}. Leave out --out: mflows tour {guide.run.folder}"
        )
    free = conditions if n + conditions <= max(SIDES) else 0
    most = NUMBERS * (8 if guide.images else 1)
    side = max(min(SIDES[n + free], math.floor((most / flow.dim) ** (1 / (n + free)))), 2)
    facts = guide.facts()
    axes = [guide.axis(k, side) for k in range(n)]
    axes += [np.linspace(each["low"], each["high"], side) for each in facts["theta"][:free]]
    fixed = [] if free else [each["middle"] for each in facts["theta"]]
    u = np.stack(np.meshgrid(*axes[:n], indexing="ij"), axis=-1)
    thetas = np.stack(np.meshgrid(*axes[n:], indexing="ij"), axis=-1) if free else np.array(fixed)
    x, log_prob = [], []
    for theta in thetas.reshape(-1, conditions) if free else [thetas]:
        x.append(guide.decode(u, theta))
        log_prob.append(guide.log_prob(u, theta))
    sizes = tuple(map(len, axes))

    def together(parts):
        """Values of every theta, in axes after those of the coordinates."""
        whole = np.stack(parts, axis=n)
        return whole.reshape(*sizes, *whole.shape[n + 1 :])

    known = None if log_prob[0] is None else together(log_prob)
    return {"axes": axes, "theta": fixed, **guide.shown(together(x)), "log_prob": known}
