"""Distance and log density: a histogram of each, and one against the other.

Histograms are computed here, from all points, and drawn as steps; only the scatter thins.
"""

import numpy as np

from mflows.pages.checks import distances, finite
from mflows.pages.content import Points
from mflows.pages.figures import (
    DATA,
    DENSITY_TITLE,
    FILL,
    TRAIN,
    Figure,
    Spec,
    Variant,
    axis,
    drawn,
    layout,
    log_axis,
    number,
    packed,
    thin,
)

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
    ax = _distance_axis(edges, log=bool(log))
    return Figure("Distance", caption, [Variant(_steps(sets, edges), _drawing(ax))])


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
    data = _steps(sets, edges)
    room = 0.03 * (edges[-1] - edges[0])
    ax = axis(DENSITY_TITLE, range=[float(edges[0] - room), float(edges[-1] + room)])
    return Figure("Log density", caption, [Variant(data, _drawing(ax))])


def scatter_figure(held_out: Points | None) -> Figure | None:
    """Log density against distance of held-out points."""
    if held_out is None or held_out.log_prob is None or held_out.distance is None:
        return None
    pairs = finite(np.stack([held_out.distance, held_out.log_prob], axis=1))
    if not len(pairs) or distances(held_out) is None:
        return None
    log = (pairs[:, 0] > 0).mean() > 0.99
    pairs = pairs[pairs[:, 0] > 0] if log else pairs
    shown = pairs[thin(len(pairs), SCATTER)]
    trace: Spec = {
        "type": "scatter",
        "mode": "markers",
        "x": packed(shown[:, 0]),
        "y": packed(shown[:, 1]),
        "marker": {"size": 4, "opacity": 0.45, "color": DATA},
        "hovertemplate": "distance %{x:.3g}<br>log density %{y:.3g}<extra></extra>",
    }
    caption = (
        "Each dot is a held-out point. To the right: far from the manifold. Down: improbable on "
        "it. Points at the right are explained badly whatever their density; a strand that "
        f"leaves the cloud deserves a look. {drawn(len(shown), len(pairs), 'points')}"
    )
    ax = _distance_axis(pairs[:, 0], log=bool(log))
    drawing = _drawing(ax, yaxis=axis(DENSITY_TITLE), showlegend=False)
    drawing["margin"]["t"] = 12
    return Figure("Log density against distance", caption, [Variant([trace], drawing)])


def step(
    edges: np.ndarray, values: np.ndarray, colour: str, name: str, *, filled: bool, **kwargs
) -> Spec:
    """Draw a histogram of ``values`` as a step curve: share of all values in each bin."""
    share = np.histogram(values, edges)[0] / max(len(values), 1)
    fill = {"fill": "tozeroy", "fillcolor": FILL[colour]} if filled else {}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": packed(np.concatenate([edges[:1], edges])),
        "y": packed(np.concatenate([[0.0], share, [0.0]])),
        "line": {"shape": "hv", "color": colour, "width": 1 if filled else 1.75},
        **fill,
        **kwargs,
    }


def _distance_axis(values: np.ndarray, *, log: bool) -> Spec:
    title = "distance to the manifold"
    return log_axis(title, values.min(), values.max()) if log else axis(title)


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


def _steps(sets: Sets, edges: np.ndarray) -> list[Spec]:
    hover = {"hovertemplate": "%{x:.3g}: %{y:.2%} of points<extra></extra>"}
    titles = [f"{label}, mean {number(float(a.mean()))}" for label, _, a in sets]
    return [
        step(edges, a, colour, title, filled=colour == TRAIN, **hover)
        for title, (_, colour, a) in zip(titles, sets, strict=True)
    ]


def _drawing(x_axis: Spec, **kwargs) -> Spec:
    y_axis = axis("share of points per bin", tickformat=".0%", rangemode="tozero")
    return layout(320, **{"xaxis": x_axis, "yaxis": y_axis, "showlegend": True, **kwargs})
