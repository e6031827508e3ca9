"""Data against model samples: every pair of columns, and each column by itself."""

from itertools import combinations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mflows.pages.distributions import steps
from mflows.pages.figures import (
    DATA,
    GRID,
    HEIGHT,
    MODEL,
    Figure,
    Range,
    Variant,
    drawn,
    single,
    text,
    thin,
)
from mflows.verdict import finite

MAX_COLUMNS = 6
POINTS = 2000
BINS = 40
GAP = 0.012  # between panels, as a share of the whole


def pair_figure(x: np.ndarray, samples: np.ndarray, names: list[str]) -> Figure | None:
    """Corner plot of data ``x``, shape ``(N, D)``, and ``samples``, shape ``(M, D)``."""
    x, samples = finite(x), finite(samples)
    if not len(x) or not len(samples):
        return None
    dim = x.shape[1]
    columns = np.sort(np.argsort(-x.var(axis=0), kind="stable")[:MAX_COLUMNS])
    ranges = [_range(x[:, c]) for c in columns]
    chosen = [thin(len(a), POINTS) for a in (x, samples)]
    sets = (("data", DATA, x, chosen[0]), ("model samples", MODEL, samples, chosen[1]))
    drawing = _panels([names[c] for c in columns], ranges)
    pairs = list(combinations(range(len(columns)), 2))
    slices = min(6, 30 // max(len(pairs), 1))  # drawn in turn, so that neither set hides the other
    for n, (j, i) in enumerate(pairs):
        for s in range(slices):
            for name, colour, a, rows in sets:
                dots = go.Scattergl(
                    mode="markers",
                    name=name,
                    legendgroup=name,
                    showlegend=not (s or n),
                    x=single(a[rows[s::slices], columns[j]]),
                    y=single(a[rows[s::slices], columns[i]]),
                    marker={"size": 3, "opacity": 0.5, "color": colour},
                    hovertemplate="%{x:.3g}, %{y:.3g}<extra>" + name + "</extra>",
                )
                drawing.add_trace(dots, i + 1, j + 1)
    for j, c in enumerate(columns):
        edges = np.linspace(*ranges[j], BINS + 1)
        for name, colour, a, _ in sets:
            group = {"legendgroup": name, "showlegend": not pairs, "hoverinfo": "skip"}
            curve = steps(edges, a[:, c], colour, filled=colour == DATA, name=name, **group)
            drawing.add_trace(curve, j + 1, j + 1)
    low, high = np.transpose(ranges)
    lost = ((samples[:, columns] < low) | (samples[:, columns] > high)).any(axis=1).mean()
    caption = (
        "Diagonal: one column at a time; below: pairs of columns. Where the model is right, "
        "samples and data cover each other. Click a name in the legend to hide or show it. "
        f"{drawn(len(chosen[0]), len(x), 'data points')} "
        f"{drawn(len(chosen[1]), len(samples), 'samples')}"
    )
    if dim > len(columns):
        caption += f" Shown are the {len(columns)} of {dim:,} columns with most variance."
    if lost > 0:
        share = "Less than 0.1%" if lost < 0.001 else f"{lost:.1%}"
        caption += f" Axes span the data; {share} of the samples lie outside."
    width = 150 + 95 * len(columns) if len(columns) > 3 else 0
    return Figure("Data and model samples", caption, [Variant(drawing)], wide=True, min_width=width)


def _panels(names: list[str], ranges: list[Range]) -> go.Figure:
    """The lower triangle of a square of panels."""
    k = len(names)
    places = [[{} if j <= i else None for j in range(k)] for i in range(k)]
    drawing = make_subplots(
        k, k, specs=places, shared_xaxes=True, horizontal_spacing=GAP, vertical_spacing=GAP
    )
    margin = {"l": 64, "r": 12, "t": 40, "b": 56}
    height = {1: HEIGHT, 2: 520}.get(k, 150 * k + 90)
    drawing.update_layout(height=height, margin=margin, legend={"itemsizing": "constant"})
    frame = {"showline": True, "mirror": True, "linecolor": GRID, "nticks": 5 if k > 3 else 6}
    drawing.update_xaxes(ticks="", tickangle=0, showticklabels=False, **frame)
    drawing.update_yaxes(ticks="", showticklabels=False, **frame)
    for j, limits in enumerate(ranges):
        label = {"title": text(names[j], max(8, 72 // k)), "showticklabels": True}
        drawing.update_xaxes(range=limits, col=j + 1)
        drawing.update_xaxes(**label, row=k, col=j + 1)
        if j:
            drawing.update_yaxes(range=limits, row=j + 1)
            drawing.update_yaxes(**label, row=j + 1, col=1)
        own = {"range": None, "showgrid": False, "rangemode": "tozero"}
        drawing.update_yaxes(**own, row=j + 1, col=j + 1)
    return drawing


def _range(column: np.ndarray) -> Range:
    low, high = (float(q) for q in np.quantile(column, [0.001, 0.999]))
    room = 0.08 * (high - low) or 0.5
    return low - room, high + room
