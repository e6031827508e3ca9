"""What a flow makes of images: projections, the worst of them, and a grid over the latent space."""

import numpy as np

from mflows.data import Data
from mflows.flow import Flow
from mflows.pages.content import Decoded, Projected
from mflows.pages.images import COLUMNS

ACROSS = 8
LEVELS = np.linspace(0.02, 0.98, ACROSS)
"""Quantiles of the latent coordinates at which images are decoded."""
COORDINATES = 6
"""Latent coordinates that are shown, each in a row, where there are more than two."""


def projections(
    flow: Flow, data: Data, distance: np.ndarray, rows: np.ndarray
) -> tuple[Projected, Projected | None]:
    """The first images and those that are farthest off, with their projections.

    Args:
        flow: A flow with a manifold.
        data: Images.
        distance: Their distances, shape ``(N,)``.
        rows: Where they stand in their file, shape ``(N,)``.
    """
    count = min(COLUMNS, len(data))
    farthest = np.argsort(-np.where(np.isfinite(distance), distance, -np.inf), kind="stable")
    worst = farthest[: min(count, int(np.isfinite(distance).sum()))]
    chosen = np.append(np.arange(count), worst)
    given = data[chosen]
    found = Projected(
        given.x, np.asarray(flow.project(given.x, given.condition)), distance[chosen], rows[chosen]
    )
    return _part(found, slice(count)), _part(found, slice(count, None)) if len(worst) else None


def _part(all_of: Projected, part: slice) -> Projected:
    fields = (all_of.x, all_of.projections, all_of.distance, all_of.rows)
    return Projected(*(field[part] for field in fields))


def decoded(
    flow: Flow, latent: np.ndarray, condition: np.ndarray | None, label: str
) -> Decoded | None:
    """Images over the quantiles of latent coordinates: a plane of two, or a row for each.

    Args:
        flow: A flow with a manifold.
        latent: Coordinates of data, shape ``(N, n)``.
        condition: The condition at which they are decoded, if the flow has one.
        label: It in words.
    """
    latent = latent[np.isfinite(latent).all(axis=1)]
    if not len(latent):
        return None
    n, quantiles = latent.shape[1], np.quantile(latent, LEVELS, axis=0)
    shares = [f"{level:.0%}" for level in LEVELS]
    if n == 2:
        u = np.stack(np.meshgrid(quantiles[:, 0], quantiles[::-1, 1]), axis=-1)
        rows = [f"u2 {share}" for share in shares[::-1]]
        columns = [f"u1<br>{share}" for share in shares]
        caption = (
            "The learned manifold as images: u1 grows to the right, u2 upwards, each from the 2% "
            "quantile of the held-out images to the 98% quantile."
        )
    else:
        spread = quantiles[-1] - quantiles[0]
        chosen = np.sort(np.argsort(-spread, kind="stable")[:COORDINATES])
        u = np.tile(np.median(latent, axis=0), (len(chosen), ACROSS, 1))
        for row, i in enumerate(chosen):
            u[row, :, i] = quantiles[:, i]
        rows, columns = [f"u{i + 1}" for i in chosen], shares
        caption = (
            "The learned manifold as images: each row moves along one latent coordinate, from the "
            "2% quantile of the held-out images to the 98% quantile"
            + ("." if n == 1 else ", the others at their medians.")
        )
        if n > len(chosen):
            caption += f" Of {n} coordinates these {len(chosen)} have the largest spread."
    if flow.chart.cond_shape is not None:
        caption += (
            f" The manifold depends on the condition; this is the one at {label}, the median."
        )
    elif condition is not None:
        caption += " The manifold does not depend on the condition."
    return Decoded(np.asarray(flow.decode(u, condition)), rows, columns, caption)
