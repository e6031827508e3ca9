"""Plotly figures and what they share: one template, colours, thinning.

A colour is the name of a variable of the style sheet, ``"var(--data)"``; the page's script puts in
its value when it draws, so the same figure serves light and dark mode. Arrays travel as float32 in
Plotly's base64, which is several times smaller than text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

INK, MUTED, GRID, PANEL = "var(--ink)", "var(--muted)", "var(--grid)", "var(--panel)"
TRAIN, DATA, MODEL = "var(--train)", "var(--data)", "var(--model)"
FILL = {c: c.replace(")", "-fill)") for c in (TRAIN, DATA, MODEL)}
DENSITY_TITLE = "log density (nats)"
SPAN_NATS = 10.0  # range of a colour scale of log densities
HEIGHT = 320
NO_LEGEND = {"t": 12}  # margin above a figure that has none

Range = tuple[float, float]

_CLEAR = "rgba(0,0,0,0)"
_LABEL = {"family": "var(--sans)", "size": 12}
_AXIS = {
    "title": {"standoff": 10},
    "automargin": True,
    "gridcolor": GRID,
    "linecolor": GRID,
    "zeroline": False,
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": GRID,
    "exponentformat": "power",
}
_SIDE = {
    "title": {"font": {"size": 12}},
    "nticks": 5,
    "tickfont": {"size": 11, "color": MUTED},
    "gridcolor": GRID,
    "zeroline": False,
    "showspikes": False,
    "showbackground": False,
    "linecolor": GRID,
}
TEMPLATE = go.layout.Template(
    layout={
        "margin": {"l": 56, "r": 16, "t": 34, "b": 48},
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "font": {**_LABEL, "color": INK},
        "hoverlabel": {"font": _LABEL, "bgcolor": PANEL},
        "modebar": {"bgcolor": PANEL, "color": MUTED, "activecolor": INK},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "bgcolor": _CLEAR,
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "scene": {"xaxis": _SIDE, "yaxis": _SIDE, "zaxis": _SIDE, "dragmode": "turntable"},
        "coloraxis": {
            "colorscale": "Viridis",
            "colorbar": {
                "title": {"text": "log density<br>(nats)", "side": "top", "font": {"size": 12}},
                "thickness": 12,
                "outlinewidth": 0,
                "ticks": "outside",
                "ticklen": 3,
                "tickcolor": GRID,
            },
        },
        "uirevision": "keep",
    }
)
"""The style of the page: no frame, few lines, legend above the plot at the left."""


@dataclass(frozen=True)
class Variant:
    """One drawing of a figure; several are offered in a menu.

    Args:
        plot: The drawing.
        label: Its entry in the menu.
        narrow: Layout entries, by dotted path, that replace others on a narrow screen.
    """

    plot: go.Figure
    label: str = ""
    narrow: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A titled figure with a caption in plain words.

    Args:
        title: Heading.
        caption: How to read it.
        variants: One drawing, or several to choose from.
        menu: What the variants differ in, such as ``"theta"``.
        wide: Whether it takes the whole width of the page.
        min_width: Pixels below which it scrolls within its frame instead of shrinking.
    """

    title: str
    caption: str
    variants: Sequence[Variant]
    menu: str = ""
    wide: bool = False
    min_width: int = 0


def plot(traces: Sequence[Any], *, height: int = HEIGHT, **layout: Any) -> go.Figure:
    """Make a Plotly figure of a fixed height; the page gives it the template."""
    return go.Figure(traces, {"height": height, **layout})


def single(a: np.ndarray) -> np.ndarray:
    """The numbers in single precision, in which they travel."""
    return np.asarray(a, np.float32)


def scale(title: str, *, log: bool) -> dict[str, Any]:
    """Title and type of an axis that may be logarithmic."""
    return {"title": f"{title} (log scale)", "type": "log"} if log else {"title": title}


def thin(rows: int, limit: int) -> np.ndarray:
    """Return indices of at most ``limit`` of ``rows`` rows, evenly spaced."""
    return np.unique(np.linspace(0, rows - 1, min(rows, limit)).astype(int))


def drawn(shown: int, rows: int, what: str) -> str:
    """Say how many points are drawn, for a caption."""
    if shown == rows:
        return f"All {rows:,} {what} are drawn."
    return f"{shown:,} of {rows:,} {what} are drawn, evenly spaced."


def text(name: str, limit: int = 28) -> str:
    """Make a name safe as a Plotly label and at most ``limit`` characters long."""
    short = name if len(name) <= limit else name[: limit - 1] + "…"
    return escape(short, quote=False).replace("$", "&#36;")  # a dollar sign would ask for MathJax


def density_range(*log_probs: np.ndarray) -> Range:
    """Colour range of log densities: from the (near) highest at most ten nats down."""
    values = np.concatenate([a[np.isfinite(a)].ravel() for a in log_probs] or [np.zeros(0)])
    if not len(values):
        return 0.0, 1.0
    top = float(np.quantile(values, 0.999))
    bottom = max(float(values.min()), top - SPAN_NATS)
    return (bottom, top) if top > bottom else (bottom - 0.5, bottom + 0.5)
