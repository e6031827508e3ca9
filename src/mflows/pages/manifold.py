"""The learned manifold beside the true one: surfaces and curves coloured by log density.

Model and truth share axes, camera and colour scale, over every condition offered, so that a
difference seen is a difference there is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mflows.pages.content import Manifold, View
from mflows.pages.figures import (
    DENSITY_TITLE,
    MUTED,
    SPAN_NATS,
    Figure,
    Range,
    Variant,
    density_range,
    drawn,
    single,
    text,
    thin,
)
from mflows.verdict import Points, finite

POINTS = 1500
HALVES = ([0.54, 1.0], [0.0, 0.46])  # heights of panels below each other


def manifold_figure(
    views: Sequence[View], held_out: Points | None, names: Sequence[str]
) -> Figure | None:
    """Draw the learned manifold and, where known, the truth, with a menu of conditions."""
    if not views:
        return None
    points = np.zeros((0, len(names))) if held_out is None else finite(held_out.x)
    points = points[thin(len(points), POINTS)] if len(points) else points
    manifolds = [m for view in views for m in (view.model, view.truth) if m is not None]
    colours = density_range(*(m.log_prob for m in manifolds))
    flat, ranges = len(names) == 2, _ranges(views, points)
    frame = _axes(names, ranges) if flat else _box(names, ranges)
    if not flat:
        frame["camera"] = _camera(views[0].truth or views[0].model)
    variants = [_variant(view, points, frame, colours) for view in views]
    kind = views[0].model.kind
    truth = any(view.truth is not None for view in views)
    caption = (
        f"The manifold that the model learned{', beside the true one,' if truth else ''} coloured "
        f"by log_prob, the density with respect to {'length' if kind == 'curve' else 'area'} on "
        f"the manifold{', on one colour scale' if truth or len(views) > 1 else ''}."
    )
    log_prob = np.concatenate([finite(m.log_prob.ravel()) for m in manifolds])
    if len(log_prob) and log_prob.min() < colours[0]:
        caption += f" The darkest colour is {SPAN_NATS:g} nats below the peak, or anything lower."
    if not flat:
        caption += f" Drag to turn{' both' if truth else ''}."
    if held_out is not None and len(points):
        said = drawn(len(points), len(held_out.x), "points")
        caption += f" Held-out points are in grey: click their name to hide them. {said}"
    title = f"Learned {kind} and truth" if truth else f"Learned {kind}"
    return Figure(title, caption, variants, menu="Condition", wide=True)


def _variant(view: View, points: np.ndarray, frame: dict[str, Any], colours: Range) -> Variant:
    pair = [m for m in (view.model, view.truth) if m is not None]
    flat = view.model.x.shape[-1] == 2
    drawing = make_subplots(
        1,
        len(pair),
        specs=[[{"type": "xy" if flat else "scene"}] * len(pair)],
        subplot_titles=("Model", "Truth") if len(pair) == 2 else None,
        horizontal_spacing=0.06 if flat else 0.03,
    )
    if len(points):
        drawing.add_trace(_dots(points), 1, 1)
    for panel, manifold in enumerate(pair):
        drawing.add_trace(_trace(manifold, ("model", "truth")[panel]), 1, panel + 1)
    bar = {"orientation": "h", "len": 0.5, "x": 0.5, "y": 0, "yanchor": "top"}
    bar |= {"title": {"text": DENSITY_TITLE}, "ypad": 44 if flat else 6}
    drawing.update_layout(
        height=560,
        margin={"l": 8, "r": 8, "t": 36, "b": 100 if flat else 70},
        coloraxis={"cmin": colours[0], "cmax": colours[1], "colorbar": bar},
        legend={"y": -0.2 if flat else 0, "yanchor": "bottom", "itemsizing": "constant"},
        hovermode="closest",
    )
    drawing.update_annotations(font={"size": 13, "weight": 600})
    narrow: dict[str, Any] = {"height": 480, "coloraxis.colorbar.len": 0.9}
    narrow |= {"legend.y": 1.03, "margin.t": 64}
    if flat:
        drawing.update_xaxes(**frame["xaxis"])
        drawing.update_yaxes(**frame["yaxis"])
        if len(pair) == 2:
            drawing.update_yaxes(title="", col=2)
    else:
        drawing.update_scenes(**frame)
    for panel, height in enumerate(HALVES if len(pair) == 2 else ()):
        number = panel + 1 if panel else ""
        x, y = (f"xaxis{number}.domain", f"yaxis{number}.domain")
        if not flat:
            x, y = (f"scene{number}.domain.{letter}" for letter in "xy")
        narrow |= {"height": 880, x: [0.0, 1.0], y: height}
        narrow |= {f"annotations.{panel}.x": 0.5, f"annotations.{panel}.y": height[1]}
    for panel in range(len(pair) if frame.get("square") else 0):
        anchor = f"x{panel + 1 if panel else ''}"
        drawing.update_yaxes(scaleanchor=anchor, col=panel + 1)
    return Variant(drawing, view.label or "no label", narrow)


def _trace(manifold: Manifold, name: str) -> Any:
    # What is not finite is a gap.
    known = np.isfinite(manifold.log_prob) & np.isfinite(manifold.x).all(axis=-1)
    x = single(np.where(known[..., None], manifold.x, np.nan)).reshape(-1, manifold.x.shape[-1]).T
    place = dict(zip("xyz", x, strict=False))
    colour = single(manifold.log_prob).ravel()
    shared = {"name": name, "showlegend": False}
    if manifold.kind == "surface":
        # Not go.Surface: of points that are spaced unevenly it makes up to millions of vertices.
        return go.Mesh3d(
            **place,
            **dict(zip("ijk", _triangles(known).T, strict=True)),
            **shared,
            intensity=colour,
            coloraxis="coloraxis",
            lighting={"ambient": 0.72, "diffuse": 0.5, "specular": 0.06, "roughness": 0.9}
            | {"vertexnormalsepsilon": 0, "facenormalsepsilon": 0},
            hovertemplate="%{x:.3g}, %{y:.3g}, %{z:.3g}<br>log density %{intensity:.3g}"
            f"<extra>{name}</extra>",
        )
    shared["hovertemplate"] = f"log density %{{marker.color:.3g}}<extra>{name}</extra>"
    marker = {"color": colour, "coloraxis": "coloraxis"}
    if len(x) == 2:
        line = {"color": MUTED, "width": 1}
        return go.Scatter(
            mode="lines+markers", line=line, marker={**marker, "size": 6}, **place, **shared
        )
    line = {**marker, "width": 7}
    return go.Scatter3d(
        mode="lines+markers", line=line, marker={**marker, "size": 2.5}, **place, **shared
    )


def _triangles(known: np.ndarray) -> np.ndarray:
    """Two triangles for each cell of a grid of vertices whose four corners are known, (T, 3)."""
    corner = np.arange(known.size, dtype=np.int32).reshape(known.shape)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[:-1, 1:], corner[1:, 1:]
    whole = known[:-1, :-1] & known[1:, :-1] & known[:-1, 1:] & known[1:, 1:]
    return np.concatenate([np.stack(three, -1)[whole] for three in ((a, b, c), (b, d, c))])


def _dots(points: np.ndarray) -> Any:
    """Held-out points beside the model, for reference."""
    flat = points.shape[1] == 2
    return (go.Scatter if flat else go.Scatter3d)(
        mode="markers",
        name="held-out points",
        showlegend=True,
        marker={"size": 4 if flat else 2, "color": MUTED, "opacity": 0.5},
        hoverinfo="skip",
        **dict(zip("xyz", single(points.T), strict=False)),
    )


def _camera(manifold: Manifold) -> dict[str, Any]:
    """Look from the side of the densest vertex, from a little above."""
    x = manifold.x.reshape(-1, manifold.x.shape[-1])
    log_prob = np.where(np.isfinite(manifold.log_prob), manifold.log_prob, -np.inf).ravel()
    good = np.isfinite(x).all(axis=1) & np.isfinite(log_prob)
    toward = np.array([0.7, -0.75])
    if good.any():
        x, peak = x[good], int(log_prob[good].argmax())
        span = np.ptp(x[:, :2], axis=0)
        side = (x[peak, :2] - x[:, :2].mean(axis=0)) / np.where(span > 0, span, 1.0)
        toward = side / np.hypot(*side) if np.hypot(*side) > 0.1 else toward
    eye = dict(zip("xyz", (*(1.72 * toward).tolist(), 1.1), strict=True))
    return {"eye": eye, "center": {"x": 0, "y": 0, "z": -0.21}}


def _box(names: Sequence[str], ranges: list[Range]) -> dict[str, Any]:
    """A 3-D scene; in proportion unless that would flatten it."""
    spans = np.array([high - low for low, high in ranges])
    sides = spans / np.cbrt(spans.prod()) if spans.max() < 4 * spans.min() else np.ones(3)
    scene: dict[str, Any] = {
        f"{letter}axis": {"title": text(name, 16), "range": limits}
        for letter, name, limits in zip("xyz", names, ranges, strict=True)
    }
    ratio = dict(zip("xyz", sides.tolist(), strict=True))
    return {**scene, "aspectmode": "manual", "aspectratio": ratio}


def _axes(names: Sequence[str], ranges: list[Range]) -> dict[str, Any]:
    """Axes in two dimensions; in proportion unless that would flatten it."""
    spans = [high - low for low, high in ranges]
    across, up = (
        {"title": text(name), "range": limits, "constrain": "domain"}
        for name, limits in zip(names, ranges, strict=True)
    )
    return {"xaxis": across, "yaxis": up, "square": max(spans) < 4 * min(spans)}


def _ranges(views: Sequence[View], points: np.ndarray) -> list[Range]:
    """Axes hold the truth or, unless it is known, the data; the learned manifold may leave them."""
    known = [view.truth.x for view in views if view.truth is not None]
    if len(points) and not known:
        known = [np.quantile(points, [0.005, 0.995], axis=0)]
    known = known or [view.model.x for view in views]
    vertices = finite(np.concatenate([np.reshape(a, (-1, a.shape[-1])) for a in known]))
    if not len(vertices):
        return [(-1.0, 1.0)] * views[0].model.x.shape[-1]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    room = np.where(high > low, 0.06 * (high - low), 0.5)
    return list(zip((low - room).tolist(), (high + room).tolist(), strict=True))
