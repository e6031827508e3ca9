"""The figure of the polynomial surface: a flow's density and manifold beside the known ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

FAINT = 7.0
"""Nats below the highest density at which maps end."""


class Map(NamedTuple):
    """Log-densities over a grid of the surface, shape (K, K)."""

    truth: np.ndarray
    model: np.ndarray


class Section(NamedTuple):
    """Heights along a line of the surface, shape (K,)."""

    truth: np.ndarray
    model: np.ndarray


def draw(
    path: Path,
    axis: np.ndarray,
    *,
    maps: Mapping[str, Map],
    sections: Mapping[str, Section],
    scores: Mapping[str, np.ndarray],
) -> None:
    """Write the figure, in the format of the file's suffix.

    Args:
        path: File to write.
        axis: Coordinates of the grid along both axes, and along the sections, shape (K,).
        maps: Label of a condition -> densities.
        sections: Label of a line -> heights.
        scores: Name of a set of points -> their outlier scores, positive.
    """
    figure = Figure(figsize=(12, 3 * (len(maps) + 1)), layout="constrained")
    axes = figure.subplots(len(maps) + 1, 3)
    for row, (label, values) in zip(axes, maps.items(), strict=False):
        top = float(values.truth.max())
        seen = np.where(values.truth > top - FAINT, 1.0, np.nan)
        shown = {
            f"truth, {label}": (values.truth, top - FAINT, top, "viridis"),
            f"model, {label}": (values.model, top - FAINT, top, "viridis"),
            "true - model": ((values.truth - values.model) * seen, -0.5, 0.5, "coolwarm"),
        }
        for panel, (title, (z, low, high, colours)) in zip(row, shown.items(), strict=True):
            mesh = panel.pcolormesh(axis, axis, z.T, vmin=low, vmax=high, cmap=colours)
            panel.set(title=title, aspect="equal")
            figure.colorbar(mesh, ax=panel, label="nats")
    heights, errors, histogram = axes[-1]
    for label, section in sections.items():
        (line,) = heights.plot(axis, section.truth, linewidth=4, alpha=0.4, label=label)
        heights.plot(axis, section.model, color=line.get_color(), linewidth=1)
        errors.plot(axis, section.model - section.truth, color=line.get_color())
    heights.set(title="Cross-sections (wide: truth)", xlabel="z0", ylabel="height")
    heights.legend(frameon=False, fontsize="small")
    errors.set(title="Error of the height", xlabel="z0")
    low, high = (f(np.concatenate(list(scores.values()))) for f in (np.min, np.max))
    bins = np.geomspace(max(low, 1e-6), high, 60)
    for name, values in scores.items():
        histogram.hist(values, bins=bins, histtype="step", label=name)
    histogram.set(title="Distance to the learned manifold", xscale="log")
    histogram.legend(frameon=False, fontsize="small")
    figure.savefig(path)
