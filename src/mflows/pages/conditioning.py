"""Condition numbers of the decoder's Jacobian, beside the limit at which log densities are lost."""

import numpy as np

from mflows.pages.checks import finite
from mflows.pages.content import Conditioning
from mflows.pages.distributions import step
from mflows.pages.figures import (
    DATA,
    MODEL,
    Figure,
    Spec,
    Variant,
    axis,
    layout,
    log_axis,
    number,
)

BINS = 40


def conditioning_figure(conditioning: Conditioning | None) -> Figure | None:
    """Histogram of condition numbers; none where they are all the same, as on curves."""
    if conditioning is None:
        return None
    values, limit = finite(conditioning.numbers), conditioning.limit
    if not len(values) or values.max() <= 1.001 * values.min():
        return None
    edges = np.geomspace(values.min(), values.max(), BINS + 1)
    hover = {"hovertemplate": "%{x:.3g}: %{y:.2%} of points<extra></extra>"}
    data = [step(edges, values, DATA, "held-out", filled=True, **hover)]
    doubtful, count = int(conditioning.doubtful.sum()), len(conditioning.numbers)
    caption = (
        "How much more the chart stretches one direction than another: the condition number of its "
        f"Jacobian. Median {number(float(np.median(values)))}, largest "
        f"{number(float(values.max()))}; {doubtful:,} of {count:,} held-out points are at "
        f"the limit of {limit:,.5g} or beyond, where rounding may change log_prob by .01 nats."
    )
    if lost := count - len(values):
        caption += f" {lost:,} numbers are not finite, and left out of all but that count."
    x_axis = log_axis("condition number", edges[0], max(limit, edges[-1]))
    x_axis["range"] = [float(np.log10(edges[0])), float(np.log10(2 * max(limit, edges[-1])))]
    y_axis = axis("share of points per bin", tickformat=".0%", rangemode="tozero")
    marks = {"shapes": [_line(limit)], "annotations": [_label(limit)]}
    drawing = layout(320, xaxis=x_axis, yaxis=y_axis, showlegend=False, **marks)
    return Figure("Condition number", caption, [Variant(data, drawing)])


def _line(limit: float) -> Spec:
    line = {"color": MODEL, "width": 2, "dash": "dash"}
    return {
        "type": "line",
        "x0": limit,
        "x1": limit,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": line,
    }


def _label(limit: float) -> Spec:
    place = {"x": float(np.log10(limit)), "y": 1, "yref": "paper", "xanchor": "right", "xshift": -6}
    return {"text": "limit", "showarrow": False, "font": {"color": MODEL}, **place}
