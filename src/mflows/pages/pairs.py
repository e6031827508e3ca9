"""Data against model samples: every pair of columns, and each column by itself."""

from itertools import combinations

import numpy as np

from mflows.pages.checks import finite
from mflows.pages.distributions import step
from mflows.pages.figures import (
    DATA,
    GRID,
    MODEL,
    Figure,
    Spec,
    Variant,
    axis,
    drawn,
    layout,
    packed,
    text,
    thin,
)

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
    sets = [("data", DATA, x, chosen[0]), ("model samples", MODEL, samples, chosen[1])]
    places = list(combinations(range(len(columns)), 2))
    slices = min(6, 30 // max(len(places), 1))  # drawn in turn, so that neither set hides the other
    data = [
        _panel(a[rows[s::slices]][:, columns[[j, i]]], colour, name, (j, i), first=not (s or n))
        for n, (j, i) in enumerate(places)
        for s in range(slices)
        for name, colour, a, rows in sets
    ]
    for j, c in enumerate(columns):
        edges = np.linspace(*ranges[j], BINS + 1)
        place = {"xaxis": f"x{j + 1}", "yaxis": f"y{len(columns) + j + 1}", "hoverinfo": "skip"}
        only = len(columns) == 1
        data += [
            step(
                edges,
                a[:, c],
                colour,
                name,
                filled=colour == DATA,
                legendgroup=name,
                showlegend=only,
                **place,
            )
            for name, colour, a, _ in sets
        ]
    lost = np.mean([_outside(row, ranges) for row in samples[:, columns]])
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
    drawing = _layout([names[c] for c in columns], ranges)
    width = 150 + 95 * len(columns) if len(columns) > 3 else 0
    return Figure(
        "Data and model samples", caption, [Variant(data, drawing)], wide=True, min_width=width
    )


def _panel(xy: np.ndarray, colour: str, name: str, place: tuple[int, int], *, first: bool) -> Spec:
    return {
        "type": "scattergl",
        "mode": "markers",
        "name": name,
        "legendgroup": name,
        "showlegend": first,
        "x": packed(xy[:, 0]),
        "y": packed(xy[:, 1]),
        "xaxis": f"x{place[0] + 1}",
        "yaxis": f"y{place[1] + 1}",
        "marker": {"size": 3, "opacity": 0.5, "color": colour},
        "hovertemplate": "%{x:.3g}, %{y:.3g}<extra>" + name + "</extra>",
    }


def _layout(names: list[str], ranges: list[tuple[float, float]]) -> Spec:
    k = len(names)
    size = (1 - GAP * (k - 1)) / k
    limit = max(8, 72 // k)
    frame = {"showline": True, "mirror": "all", "linecolor": GRID, "nticks": 5 if k > 3 else 6}
    frame |= {"ticks": "", "tickangle": 0}
    drawing = layout(
        {1: 320, 2: 520}.get(k, 150 * k + 90), margin={"l": 64, "r": 12, "t": 40, "b": 56}
    )
    drawing["legend"]["itemsizing"] = "constant"
    for j in range(k):
        left, top = j * (size + GAP), 1 - j * (size + GAP)
        across, up = [left, left + size], [max(0.0, top - size), top]
        label = text(names[j], limit)
        below = f"y{k}" if j < k - 1 else f"y{2 * k}"  # the panel that carries the tick labels
        shared = {**frame, "range": list(ranges[j])}
        drawing[f"xaxis{j + 1}"] = axis(label, domain=across, anchor=below, **shared)
        if j > 0:
            drawing[f"yaxis{j + 1}"] = axis(label, domain=up, anchor="x1", **shared)
        drawing[f"yaxis{k + j + 1}"] = axis(
            domain=up, anchor=f"x{j + 1}", showticklabels=False, showgrid=False, rangemode="tozero"
        ) | {"ticks": "", "showline": True, "mirror": True}
    return drawing


def _range(column: np.ndarray) -> tuple[float, float]:
    low, high = (float(q) for q in np.quantile(column, [0.001, 0.999]))
    room = 0.08 * (high - low) or 0.5
    return low - room, high + room


def _outside(row: np.ndarray, ranges: list[tuple[float, float]]) -> bool:
    return any(not low <= v <= high for v, (low, high) in zip(row, ranges, strict=True))
