"""Held-out points in the latent space, coloured by log density."""

from itertools import combinations

import numpy as np
import plotly.graph_objects as go

from mflows.pages.figures import (
    DATA,
    DENSITY_TITLE,
    NO_LEGEND,
    Figure,
    Variant,
    density_range,
    drawn,
    plot,
    single,
    thin,
)

MAX_COORDINATES = 4
POINTS = 2000


def latent_figure(latent: np.ndarray, log_prob: np.ndarray | None) -> Figure | None:
    """Pairs of latent coordinates, or the density along the only one.

    Args:
        latent: Latent coordinates, shape ``(N, n)``.
        log_prob: Log density of the same points, shape ``(N,)``, if known.
    """
    good = np.isfinite(latent).all(axis=1)
    if log_prob is not None:
        good &= np.isfinite(log_prob)
    rows = np.flatnonzero(good)
    shown = rows[thin(len(rows), POINTS)] if len(rows) else rows
    n = latent.shape[1]
    if not len(rows) or (n == 1 and log_prob is None):
        return None
    u = single(latent[shown])
    colour = None if log_prob is None else single(log_prob[shown])
    said = drawn(len(shown), len(rows), "held-out points")
    if n == 1:
        caption = f"Log density along the only latent coordinate. {said}"
        return Figure(
            "Latent space", caption, [_scatter(u[:, 0], colour, None, "u1", DENSITY_TITLE)]
        )
    chosen = np.sort(np.argsort(-latent[rows].var(axis=0), kind="stable")[:MAX_COORDINATES])
    variants = [
        _scatter(u[:, i], u[:, j], colour, f"u{i + 1}", f"u{j + 1}")
        for i, j in combinations(chosen, 2)
    ]
    caption = (
        "Where held-out points land in the model's own coordinates u. Colour is the density on the "
        "manifold at the point, not the density of u: the two differ by the stretching of the "
        f"chart. {said}"
    )
    if n > len(chosen):
        caption += f" Offered are the {len(chosen)} of {n} coordinates with most variance."
    return Figure("Latent space", caption, variants, menu="Coordinates")


def _scatter(x, y, colour: np.ndarray | None, x_title: str, y_title: str) -> Variant:
    marker = {"size": 4.5, "opacity": 0.85, "color": DATA}
    hover = f"{x_title} %{{x:.3g}}<br>{y_title} %{{y:.3g}}"
    scale = {}
    if colour is not None:
        marker |= {"color": colour, "coloraxis": "coloraxis"}
        scale = dict(zip(("cmin", "cmax"), density_range(colour), strict=True))
        hover += "<br>log density %{marker.color:.3g}"
    dots = go.Scatter(
        mode="markers", x=x, y=y, marker=marker, hovertemplate=hover + "<extra></extra>"
    )
    drawing = plot(
        [dots],
        xaxis={"title": x_title},
        yaxis={"title": y_title},
        coloraxis=scale,
        margin=NO_LEGEND,
    )
    return Variant(drawing, f"{x_title}, {y_title}")
