"""Distance, log density and condition number: a histogram of each, and one against the other.

Histograms are computed here, from all points, and drawn as steps; only the scatter thins.
"""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from mflows.pages.figures import (
    DATA,
    DENSITY_TITLE,
    FILL,
    MODEL,
    NO_LEGEND,
    TRAIN,
    Figure,
    Variant,
    drawn,
    plot,
    scale,
    single,
    thin,
)
from mflows.verdict import Conditioning, Points, finite
from mflows.verdict.checks import distances

BINS = 60
SCATTER = 2000
TAIL = 0.001  # share of lowest log densities left out of the histogram
_ON_MANIFOLD = (
    "log_prob is a density with respect to n-dimensional volume on the manifold, taken at the "
    "projection of the point: a point off the manifold can have a high one. Read it beside the "
    "distance, and never compare it across different n or different manifolds."
)
_IN_SPACE = (
    "log_prob is a density with respect to volume in the space of the data. The two curves should "
    "agree; a held-out curve further to the left means that the density follows the training set. "
    "Never compare it with a density on a manifold."
)
_DISTANCE = "distance to the manifold"
_SHARE = {"title": "share of points per bin", "tickformat": ".0%", "rangemode": "tozero"}
Sets = list[tuple[str, str, np.ndarray]]


def distance_figure(train: Points | None, held_out: Points | None) -> Figure | None:
    """Histogram of reconstruction errors."""
    sets = _sets(train, held_out, "distance")
    if not sets:
        return None
    pooled = np.concatenate([a for _, _, a in sets])
    positive = pooled[pooled > 0]
    log = len(positive) > 0.99 * len(pooled) and positive.max() > 10 * positive.min()
    if log:
        low = max(positive.min(), np.quantile(positive, TAIL) / 2)
        edges = np.geomspace(low, positive.max(), BINS + 1)
    else:
        edges = _edges(0.0, float(pooled.max()))
    caption = (
        "How far points lie from the learned manifold: the distance from each point to its "
        "reconstruction, in the data's units. The two curves should agree; a held-out curve "
        "further to the right means that the manifold follows the training set."
    )
    if distances(held_out or train) is None:
        caption += " Here it is rounding error only: the manifold holds every point."
    drawing = plot(_steps(sets, edges), xaxis=scale(_DISTANCE, log=bool(log)), yaxis=_SHARE)
    return Figure("Distance", caption, [Variant(drawing)])


def density_figure(train: Points | None, held_out: Points | None) -> Figure | None:
    """Histogram of log densities."""
    sets = _sets(train, held_out, "log_prob")
    if not sets:
        return None
    pooled = np.concatenate([a for _, _, a in sets])
    low = float(np.quantile(pooled, TAIL))
    caption = _ON_MANIFOLD if _sets(train, held_out, "distance") else _IN_SPACE
    if below := int((pooled < low).sum()):
        caption += f" {below:,} lowest of {len(pooled):,} values lie left of the axis."
    edges = _edges(low, float(pooled.max()))
    room = 0.03 * (edges[-1] - edges[0])
    x_axis = {"title": DENSITY_TITLE, "range": [edges[0] - room, edges[-1] + room]}
    return Figure(
        "Log density", caption, [Variant(plot(_steps(sets, edges), xaxis=x_axis, yaxis=_SHARE))]
    )


def scatter_figure(held_out: Points | None) -> Figure | None:
    """Log density against distance of held-out points."""
    if held_out is None or held_out.log_prob is None or held_out.distance is None:
        return None
    pairs = finite(np.stack([held_out.distance, held_out.log_prob], axis=1))
    if not len(pairs) or distances(held_out) is None:
        return None
    log = bool((pairs[:, 0] > 0).mean() > 0.99)
    pairs = pairs[pairs[:, 0] > 0] if log else pairs
    shown = single(pairs[thin(len(pairs), SCATTER)])
    dots = go.Scatter(
        mode="markers",
        x=shown[:, 0],
        y=shown[:, 1],
        marker={"size": 4, "opacity": 0.45, "color": DATA},
        hovertemplate="distance %{x:.3g}<br>log density %{y:.3g}<extra></extra>",
    )
    caption = (
        "Each dot is a held-out point. To the right: far from the manifold. Down: improbable on "
        "it. Points at the right are explained badly whatever their density; a strand that "
        f"leaves the cloud deserves a look. {drawn(len(shown), len(pairs), 'points')}"
    )
    axes = {"xaxis": scale(_DISTANCE, log=log), "yaxis": {"title": DENSITY_TITLE}}
    drawing = plot([dots], **axes, margin=NO_LEGEND)
    return Figure("Log density against distance", caption, [Variant(drawing)])


def conditioning_figure(conditioning: Conditioning | None) -> Figure | None:
    """Histogram of condition numbers of the decoder's Jacobian, beside their limit.

    None where they are all the same, as on curves.
    """
    if conditioning is None:
        return None
    values, limit = finite(conditioning.numbers), conditioning.limit
    if not len(values) or values.max() <= 1.001 * values.min():
        return None
    edges = np.geomspace(values.min(), values.max(), BINS + 1)
    doubtful, count = int(conditioning.doubtful.sum()), len(conditioning.numbers)
    caption = (
        "How much more the chart stretches one direction than another: the condition number of its "
        f"Jacobian. Median {np.median(values):.3g}, largest {values.max():.3g}; {doubtful:,} of "
        f"{count:,} held-out points are at the limit of {limit:,.5g} or beyond, where rounding may "
        "change log_prob by .01 nats."
    )
    if lost := count - len(values):
        caption += f" {lost:,} numbers are not finite, and left out of all but that count."
    ends = np.log10([edges[0], 2 * max(limit, edges[-1])]).tolist()
    steps = _step(edges, values, DATA, "held-out", filled=True)
    drawing = plot([steps], xaxis=scale("condition number", log=True), yaxis=_SHARE)
    drawing.update_layout(showlegend=False, xaxis_range=ends)
    drawing.add_vline(
        limit,
        line={"color": MODEL, "width": 2, "dash": "dash"},
        annotation={"text": "limit", "font": {"color": MODEL}, "x": np.log10(limit)},
        annotation_position="top left",
    )
    return Figure("Condition number", caption, [Variant(drawing)])


def steps(
    edges: np.ndarray, values: np.ndarray, colour: str, *, filled: bool, **more: Any
) -> go.Scatter:
    """Draw a histogram of ``values`` as a step curve: share of all values in each bin."""
    share = np.histogram(values, edges)[0] / max(len(values), 1)
    return go.Scatter(
        mode="lines",
        x=single(np.concatenate([edges[:1], edges])),
        y=single(np.concatenate([[0.0], share, [0.0]])),
        line={"shape": "hv", "color": colour, "width": 1 if filled else 1.75},
        fill="tozeroy" if filled else None,
        fillcolor=FILL[colour],
        **more,
    )


def _step(edges: np.ndarray, values: np.ndarray, colour: str, name: str, *, filled: bool):
    hover = "%{x:.3g}: %{y:.2%} of points<extra></extra>"
    return steps(edges, values, colour, filled=filled, name=name, hovertemplate=hover)


def _steps(sets: Sets, edges: np.ndarray) -> list[go.Scatter]:
    return [
        _step(edges, a, colour, f"{label}, mean {a.mean():.3g}", filled=colour == TRAIN)
        for label, colour, a in sets
    ]


def _sets(train: Points | None, held_out: Points | None, name: str) -> Sets:
    named = (("train", TRAIN, train), ("held-out", DATA, held_out))
    found = [
        (label, colour, finite(a))
        for label, colour, points in named
        if points is not None and (a := getattr(points, name)) is not None
    ]
    return [(label, colour, a) for label, colour, a in found if len(a)]


def _edges(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, BINS + 1) if high > low else np.linspace(low - 0.5, low + 0.5, 4)
