"""Held-out points in the latent space, coloured by log density."""

from itertools import combinations

import numpy as np

from mflows.pages.figures import (
    DATA,
    DENSITY_TITLE,
    Figure,
    Spec,
    Variant,
    axis,
    density_bar,
    density_range,
    drawn,
    layout,
    packed,
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
        log_prob = log_prob[good]
    latent = latent[good]
    if not len(latent) or (latent.shape[1] == 1 and log_prob is None):
        return None
    rows = thin(len(latent), POINTS)
    u, n = latent[rows], latent.shape[1]
    said = drawn(len(rows), len(latent), "held-out points")
    if n == 1:
        assert log_prob is not None
        caption = f"Log density along the only latent coordinate. {said}"
        variants = [_scatter(u[:, 0], log_prob[rows], None, "u1", DENSITY_TITLE)]
        return Figure("Latent space", caption, variants)
    chosen = np.sort(np.argsort(-latent.var(axis=0), kind="stable")[:MAX_COORDINATES])
    colour = None if log_prob is None else log_prob[rows]
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


def _scatter(
    x: np.ndarray, y: np.ndarray, colour: np.ndarray | None, x_title: str, y_title: str
) -> Variant:
    marker: Spec = {"size": 4.5, "opacity": 0.85, "color": DATA}
    hover = f"{x_title} %{{x:.3g}}<br>{y_title} %{{y:.3g}}"
    if colour is not None:
        low, high = density_range(colour)
        marker |= {
            "color": packed(colour),
            "colorscale": "Viridis",
            "cmin": low,
            "cmax": high,
            "colorbar": density_bar(),
        }
        hover += "<br>log density %{marker.color:.3g}"
    trace: Spec = {
        "type": "scatter",
        "mode": "markers",
        "x": packed(x),
        "y": packed(y),
        "marker": marker,
        "hovertemplate": hover + "<extra></extra>",
    }
    drawing = layout(320, xaxis=axis(x_title), yaxis=axis(y_title), showlegend=False)
    drawing["margin"] = {"l": 56, "r": 12, "t": 12, "b": 48}
    return Variant([trace], drawing, f"{x_title}, {y_title}")
