"""Plotly figures as plain dictionaries, and what they share: colours, axes, packing, thinning.

A colour is written as the name of a style-sheet variable (``"--data"``); the page's script puts
in its value when it draws, so the same figure serves light and dark mode. Arrays travel as
float32 in base64, which Plotly reads and which is several times smaller than text.
"""

import base64
from dataclasses import dataclass, field
from html import escape
from math import ceil, floor, log10
from typing import Any

import numpy as np

INK, MUTED, GRID, PANEL = "--ink", "--muted", "--grid", "--panel"
TRAIN, DATA, MODEL = "--train", "--data", "--model"
FILL = {TRAIN: "--train-fill", DATA: "--data-fill", MODEL: "--model-fill"}
DENSITY_TITLE = "log density (nats)"
SPAN_NATS = 10.0  # range of a colour scale of log densities

Spec = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One drawing of a figure; several are offered in a menu.

    Args:
        data: Plotly traces.
        layout: Plotly layout.
        label: Its entry in the menu.
        narrow: Layout entries, by dotted path, that replace others on a narrow screen.
    """

    data: list[Spec]
    layout: Spec
    label: str = ""
    narrow: Spec = field(default_factory=dict)


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
    variants: list[Variant]
    menu: str = ""
    wide: bool = False
    min_width: int = 0


def packed(a: np.ndarray) -> Spec:
    """Pack an array of one or two dimensions in Plotly's binary form."""
    a = np.ascontiguousarray(a, dtype="<f4")
    spec = {"dtype": "f4", "bdata": base64.b64encode(a.tobytes()).decode()}
    return spec if a.ndim == 1 else {**spec, "shape": ", ".join(map(str, a.shape))}


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


def number(value: float) -> str:
    """Write a number with three digits."""
    return f"{value:.3g}"


def axis(title: str = "", **kwargs: Any) -> Spec:
    """Make an axis in the style of the page."""
    return {
        "title": {"text": title, "standoff": 10},
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": GRID,
        **kwargs,
    }


def log_axis(title: str, low: float, high: float, **kwargs: Any) -> Spec:
    """Make a logarithmic axis for values from ``low`` to ``high`` with few, plain labels."""
    first, last = floor(log10(low)), ceil(log10(high))
    digits = (
        (1,) if log10(high / low) > 2 else (1, 2, 5) if log10(high / low) > 0.7 else range(1, 10)
    )
    every = max(1, (last - first) // 6)
    values = [float(f"{d}e{e}") for e in range(first, last + 1, every) for d in digits]
    labels = [f"{v:g}" if 1e-3 <= v < 1e5 else _power(v) for v in values]
    ticks = {"tickvals": values, "ticktext": labels, "minor": {"ticks": "outside", "ticklen": 2}}
    return axis(f"{title} (log scale)", type="log", **ticks, **kwargs)


def _power(value: float) -> str:
    digit, exponent = f"{value:.0e}".split("e")
    return ("" if digit == "1" else f"{digit}×") + f"10<sup>{int(exponent)}</sup>"


def layout(height: int, **kwargs: Any) -> Spec:
    """Make a layout in the style of the page: no frame, legend above the plot at the left."""
    return {
        "height": height,
        "autosize": True,
        "margin": {"l": 56, "r": 16, "t": 34, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "--sans", "size": 12, "color": INK},
        "hoverlabel": {"font": {"family": "--sans", "size": 12}},
        "modebar": {"bgcolor": "--panel", "color": "--muted", "activecolor": "--ink"},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
        "uirevision": "keep",
        **kwargs,
    }


def density_range(*log_probs: np.ndarray) -> tuple[float, float]:
    """Colour range of log densities: from the (near) highest at most ten nats down."""
    values = np.concatenate([a[np.isfinite(a)].ravel() for a in log_probs] or [np.zeros(0)])
    if not len(values):
        return 0.0, 1.0
    top = float(np.quantile(values, 0.999))
    bottom = max(float(values.min()), top - SPAN_NATS)
    return (bottom, top) if top > bottom else (bottom - 0.5, bottom + 0.5)


def density_bar(**kwargs: Any) -> Spec:
    """Make a colour bar for log densities."""
    return {
        "title": {"text": "log density<br>(nats)", "side": "top", "font": {"size": 12}},
        "thickness": 12,
        "outlinewidth": 0,
        "ticks": "outside",
        "ticklen": 3,
        "tickcolor": GRID,
        **kwargs,
    }
