"""Learning curves: one figure per phase, since losses of different phases have different units."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mflows.pages.figures import (
    DATA,
    MODEL,
    MUTED,
    PANEL,
    TRAIN,
    Figure,
    Variant,
    plot,
    scale,
    single,
)
from mflows.verdict.checks import was_early

MAX_ROUNDS = 12  # boundaries of more rounds than this would be a fence, not a help


def learning_figures(history: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """One figure per phase name, in order of first appearance."""
    names = list(dict.fromkeys(str(row["phase"]) for row in history))
    wide = len(names) == 1
    return [_phase(name, _rows(history, name), wide=wide) for name in names]


def _rows(history: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Rows of a phase with their round: it is a new one after any other phase or restart."""
    rows, index, last = [], -1, None
    for i, row in enumerate(history):
        if str(row["phase"]) != name:
            continue
        if last is None or last[0] != i - 1 or row["epoch"] <= last[1]:
            index += 1
        rows.append((index, row))
        last = (i, row["epoch"])
    return rows


def _phase(name: str, rows: list[tuple[int, Mapping[str, Any]]], *, wide: bool) -> Figure:
    epochs = np.arange(1, len(rows) + 1)
    curves = {key: _column(rows, key) for key in ("train", "validation")}
    pooled = np.concatenate(list(curves.values()))
    pooled = pooled[np.isfinite(pooled)]
    log = bool(len(pooled) > 0 and pooled.min() > 0 and pooled.max() > 3 * pooled.min())
    traces = [
        go.Scatter(
            mode="lines+markers" if len(rows) <= 2 else "lines",
            name=key,
            x=epochs,
            y=single(y),
            line={"color": colour, "width": 2},
            hovertemplate=f"epoch %{{x}}: %{{y:.4g}}<extra>{key}</extra>",
        )
        for (key, y), colour in zip(curves.items(), (TRAIN, DATA), strict=True)
        if np.isfinite(y).any()
    ]
    best = "validation" if np.isfinite(curves["validation"]).any() else "train"
    caption = "Loss by epoch; lower is better."
    if np.isfinite(curves[best]).any():
        at = int(np.nanargmin(np.where(np.isfinite(curves[best]), curves[best], np.nan)))
        loss = float(curves[best][at])
        mark = go.Scatter(
            mode="markers",
            name=f"lowest {best}",
            x=[at + 1],
            y=[loss],
            marker={"size": 9, "color": PANEL, "line": {"color": MODEL, "width": 2}},
            hovertemplate=f"epoch %{{x}}: %{{y:.4g}}<extra>lowest {best}</extra>",
        )
        traces.append(mark)
        caption += f" Lowest {best} loss: {loss:.3g} in epoch {at + 1}."
        if was_early(np.where(np.isfinite(curves[best]), curves[best], np.inf)):
            caption += " That was early: the epochs after it gained nothing on held-out points."
    starts = [i for i in range(1, len(rows)) if rows[i][0] != rows[i - 1][0]]
    if starts:
        lines = "; dotted lines mark where a round begins" if len(starts) < MAX_ROUNDS else ""
        caption += f" The phase ran in {len(starts) + 1} rounds, joined here{lines}."
    seconds = np.nansum(_column(rows, "seconds"))
    if seconds > 0:
        caption += f" It took {_duration(float(seconds))}."
    drawing = plot(traces, xaxis={"title": "epoch"}, yaxis=scale("loss", log=log), showlegend=True)
    if not log and (cut := _cut(pooled, curves)) is not None:
        drawing.update_yaxes(range=cut)
        caption += " The first epochs lie above the axis."
    if len(starts) < MAX_ROUNDS:
        for i in starts:
            drawing.add_vline(epochs[i] - 0.5, line={"color": MUTED, "width": 1, "dash": "dot"})
    return Figure(f"Phase: {name}", caption, [Variant(drawing)], wide=wide)


def _column(rows: list[tuple[int, Mapping[str, Any]]], key: str) -> np.ndarray:
    values = (row.get(key) for _, row in rows)
    return np.array([np.nan if v is None else float(v) for v in values])


def _cut(pooled: np.ndarray, curves: Mapping[str, np.ndarray]) -> list[float] | None:
    """Leave out the first tenth of the epochs where they would flatten the rest."""
    late = np.concatenate([y[len(y) // 10 + 1 :] for y in curves.values()])
    late = late[np.isfinite(late)]
    if len(late) < 20:
        return None
    low, high = float(pooled.min()), float(late.max())
    room = 0.08 * (high - low)
    return [low - room, high + room] if pooled.max() - low > 4 * (high - low) > 0 else None


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {s} s"
