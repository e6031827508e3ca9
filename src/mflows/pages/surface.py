"""The learned manifold beside the true one: surfaces and curves coloured by log density.

Model and truth share axes, camera and colour scale, over every condition offered, so that a
difference seen is a difference there is.
"""

from collections.abc import Sequence

import numpy as np

from mflows.pages.checks import finite
from mflows.pages.content import Curve, Points, Surface, View
from mflows.pages.figures import (
    DENSITY_TITLE,
    GRID,
    MUTED,
    SPAN_NATS,
    Figure,
    Spec,
    Variant,
    axis,
    density_bar,
    density_range,
    drawn,
    layout,
    packed,
    text,
    thin,
)

POINTS = 1500
BOTTOM = 0.16  # share of the height kept for the colour bar
SIDE = ([0.0, 0.485], [0.515, 1.0])  # panels beside each other, across
STACK = ([0.6, 0.97], [0.15, 0.52])  # panels below each other, upwards
Range = tuple[float, float]


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
    ranges = _ranges(views, points)
    camera = _camera(views[0].truth or views[0].model)
    variants = [_variant(view, points, names, ranges, colours, camera) for view in views]
    kind = "curve" if isinstance(views[0].model, Curve) else "surface"
    truth = any(view.truth is not None for view in views)
    caption = (
        f"The manifold that the model learned{', beside the true one,' if truth else ''} coloured "
        f"by log_prob, the density with respect to {'length' if kind == 'curve' else 'area'} on "
        f"the manifold{', on one colour scale' if truth or len(views) > 1 else ''}."
    )
    lowest = min(
        (float(a.min()) for m in manifolds if len(a := finite(m.log_prob.ravel()))), default=0
    )
    if lowest < colours[0]:
        caption += f" The darkest colour is {SPAN_NATS:g} nats below the peak, or anything lower."
    if len(names) == 3:
        caption += f" Drag to turn{' both' if truth else ''}."
    if held_out is not None and len(points):
        said = drawn(len(points), len(held_out.x), "points")
        caption += f" Held-out points are in grey: click their name to show or hide them. {said}"
    title = f"Learned {kind} and truth" if truth else f"Learned {kind}"
    return Figure(title, caption, variants, menu="Condition", wide=True)


def _variant(
    view: View,
    points: np.ndarray,
    names: Sequence[str],
    ranges: list[Range],
    colours: Range,
    camera: Spec,
) -> Variant:
    pair = [m for m in (view.model, view.truth) if m is not None]
    flat = len(names) == 2
    data = [_dots(points)] if len(points) else []
    data += [_trace(m, panel) for panel, m in enumerate(pair)]
    drawing = layout(540 if flat else 560, margin={"l": 8, "r": 8, "t": 36, "b": 8})
    bar = density_bar(orientation="h", x=0.5, xanchor="center", y=0, yanchor="bottom", len=0.5)
    bar["title"] |= {"text": DENSITY_TITLE}
    scale = {"colorscale": "Viridis", "cmin": colours[0], "cmax": colours[1], "colorbar": bar}
    drawing["legend"] |= {"x": 0, "y": 0.02, "itemsizing": "constant"}
    drawing |= {"coloraxis": scale, "annotations": [], "hovermode": "closest"}
    narrow: Spec = {"height": 880 if len(pair) == 2 else 480, "legend.y": 1.0}
    narrow["coloraxis.colorbar.len"] = 0.9
    for panel in range(len(pair)):
        across = SIDE[panel] if len(pair) == 2 else [0.0, 1.0]
        upwards, stacked = [0.3 if flat else BOTTOM, 0.95], STACK[panel]
        if flat:
            _flat_panel(drawing, panel, names, ranges)
            places = (f"xaxis{panel + 1}.domain", f"yaxis{panel + 1}.domain")
        else:
            drawing[_scene(panel)] = _box(names, ranges, camera)
            places = (f"{_scene(panel)}.domain.x", f"{_scene(panel)}.domain.y")
        _put(drawing, places[0], across)
        _put(drawing, places[1], upwards)
        if len(pair) == 2:
            narrow |= {places[0]: [0.0, 1.0], places[1]: stacked}
            narrow |= {f"annotations.{panel}.x": 0.5, f"annotations.{panel}.y": stacked[1]}
            heading = ("Model", "Truth")[panel]
            drawing["annotations"].append(_heading(heading, sum(across) / 2, upwards[1]))
    label = view.model.label or (view.truth.label if view.truth else "")
    return Variant(data, drawing, label or "no label", narrow)


def _trace(manifold: Surface | Curve, panel: int) -> Spec:
    known = np.isfinite(manifold.log_prob)  # what is not finite is a gap
    x = [packed(np.where(known, c, np.nan)) for c in np.moveaxis(manifold.x, -1, 0)]
    colour = packed(manifold.log_prob)
    name = ("model", "truth")[panel]
    if isinstance(manifold, Surface):
        return {
            "type": "surface",
            "scene": _scene(panel),
            "name": name,
            "showlegend": False,
            **dict(zip("xyz", x, strict=True)),
            "surfacecolor": colour,
            "coloraxis": "coloraxis",
            "lighting": {"ambient": 0.72, "diffuse": 0.5, "specular": 0.06, "roughness": 0.9},
            "contours": {k: {"highlight": False} for k in "xyz"},
            "hovertemplate": "%{x:.3g}, %{y:.3g}, %{z:.3g}<br>log density %{surfacecolor:.3g}"
            f"<extra>{name}</extra>",
        }
    hover = f"log density %{{marker.color:.3g}}<extra>{name}</extra>"
    shared = {"name": name, "showlegend": False, "hovertemplate": hover}
    marker = {"color": colour, "coloraxis": "coloraxis"}
    if len(x) == 2:
        place = {"xaxis": f"x{panel + 1}", "yaxis": f"y{panel + 1}"}
        line = {"color": MUTED, "width": 1}
        drawing = {"type": "scatter", "mode": "lines+markers", "line": line}
        return (
            drawing
            | shared
            | place
            | dict(zip("xy", x, strict=True))
            | {"marker": {**marker, "size": 6}}
        )
    return {
        "type": "scatter3d",
        "mode": "lines+markers",
        "scene": _scene(panel),
        **shared,
        **dict(zip("xyz", x, strict=True)),
        "marker": {**marker, "size": 2.5},
        "line": {**marker, "width": 7},
    }


def _dots(points: np.ndarray) -> Spec:
    """Held-out points beside the model, for reference."""
    flat = points.shape[1] == 2
    return {
        "type": "scatter" if flat else "scatter3d",
        "mode": "markers",
        "name": "held-out points",
        "showlegend": True,
        "visible": True if flat else "legendonly",
        **dict(zip("xyz", (packed(c) for c in points.T), strict=False)),
        **({"xaxis": "x1", "yaxis": "y1"} if flat else {"scene": "scene"}),
        "marker": {"size": 4 if flat else 2, "color": MUTED, "opacity": 0.5},
        "hoverinfo": "skip",
    }


def _scene(panel: int) -> str:
    return "scene" if panel == 0 else f"scene{panel + 1}"


def _camera(manifold: Surface | Curve) -> Spec:
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
    eye = {"x": 1.72 * float(toward[0]), "y": 1.72 * float(toward[1]), "z": 1.1}
    return {"eye": eye, "center": {"x": 0, "y": 0, "z": -0.21}}


def _box(names: Sequence[str], ranges: list[Range], camera: Spec) -> Spec:
    """Make a 3-D scene; in proportion unless that would flatten it."""
    spans = np.array([high - low for low, high in ranges])
    sides = spans / np.cbrt(spans.prod()) if spans.max() < 4 * spans.min() else np.ones(3)
    scene: Spec = {
        "aspectmode": "manual",
        "aspectratio": dict(zip("xyz", (float(s) for s in sides), strict=True)),
        "camera": camera,
        "dragmode": "turntable",
    }
    for letter, name, limits in zip("xyz", names, ranges, strict=True):
        scene[f"{letter}axis"] = {
            "title": {"text": text(name, 16), "font": {"size": 12}},
            "range": list(limits),
            "nticks": 5,
            "tickfont": {"size": 11, "color": MUTED},
            "gridcolor": GRID,
            "zeroline": False,
            "showspikes": False,
            "showbackground": False,
            "linecolor": GRID,
        }
    return scene


def _flat_panel(drawing: Spec, panel: int, names: Sequence[str], ranges: list[Range]):
    """Axes of one panel in two dimensions; in proportion unless that would flatten it."""
    k = panel + 1
    spans = [high - low for low, high in ranges]
    square = max(spans) < 4 * min(spans)
    equal = [{"constrain": "domain"}, {"constrain": "domain", "scaleanchor": f"x{k}"}]
    follow: list[Spec] = equal if square else [{}, {}]
    across = axis(text(names[0]), anchor=f"y{k}", range=list(ranges[0]), **follow[0])
    up = axis("" if panel else text(names[1]), anchor=f"x{k}", range=list(ranges[1]), **follow[1])
    drawing[f"xaxis{k}"], drawing[f"yaxis{k}"] = across, up


def _heading(title: str, x: float, y: float) -> Spec:
    place = {"xref": "paper", "yref": "paper", "x": x, "y": y, "xanchor": "center"}
    font = {"size": 13, "weight": 600}
    return {"text": title, "showarrow": False, "yanchor": "bottom", "font": font, **place}


def _put(spec: Spec, path: str, value: object):
    *parents, last = path.split(".")
    for key in parents:
        spec = spec.setdefault(key, {})
    spec[last] = value


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
