"""The figure of the polynomial surface: density, calibration and manifold beside the known ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

QUANTILES = 20
"""Groups of points by their true density, whose errors are averaged."""
FAINT = 7.0
"""Nats below the highest density at which maps end."""


class Map(NamedTuple):
    """Log-densities over a grid of the surface, shape (K, K)."""

    truth: np.ndarray
    model: np.ndarray


class Calibration(NamedTuple):
    """Densities at points drawn from the truth, shape (N,).

    Args:
        truth: True log-density of every point.
        error: True minus model log-density.
        level: Mass of the model's highest-density region that ends at the point; uniform on
            [0, 1] for a calibrated density.
    """

    truth: np.ndarray
    error: np.ndarray
    level: np.ndarray


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
    calibrations: Mapping[str, Calibration],
    scores: Mapping[str, np.ndarray],
) -> None:
    """Write the figure, in the format of the file's suffix.

    Args:
        path: File to write.
        axis: Coordinates of the grid along both axes, and along the sections, shape (K,).
        maps: Label of a condition -> densities.
        sections: Label of a line -> heights.
        calibrations: Label of a condition -> densities at points drawn from the truth.
        scores: Name of a set of points -> their outlier scores, positive.
    """
    figure = Figure(figsize=(12, 3 * (len(maps) + 2)), layout="constrained")
    axes = figure.subplots(len(maps) + 2, 3)
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
    _draw_calibrations(axes[-2], calibrations)
    heights, errors, histogram = axes[-1]
    for label, section in sections.items():
        (line,) = heights.plot(axis, section.truth, linewidth=4, alpha=0.4, label=label)
        heights.plot(axis, section.model, color=line.get_color(), linewidth=1)
        errors.plot(axis, section.model - section.truth, color=line.get_color())
    heights.set(title="Cross-sections (wide: truth)", xlabel="z0", ylabel="height")
    errors.set(title="Error of the height", xlabel="z0")
    low, high = (f(np.concatenate(list(scores.values()))) for f in (np.min, np.max))
    bins = np.geomspace(max(low, 1e-6), high, 60)
    for name, values in scores.items():
        histogram.hist(values, bins=bins, histtype="step", label=name)
    histogram.set(title="Distance to the learned manifold", xscale="log")
    for panel in (heights, histogram):  # room above the curves
        low, high = panel.get_ylim()
        panel.set_ylim(low, high + 0.35 * (high - low))
        panel.legend(frameon=False, fontsize="small", loc="upper left")
    figure.savefig(path)


def _draw_calibrations(axes: np.ndarray, calibrations: Mapping[str, Calibration]) -> None:
    covered, by_density, spread = axes
    for label, (truth, error, level) in calibrations.items():
        mass = np.arange(1, len(level) + 1) / len(level)
        covered.plot(np.sort(level), mass, label=label)
        groups = np.array_split(np.argsort(truth), QUANTILES)
        mean, deviation = (np.array([f(error[g]) for g in groups]) for f in (np.mean, np.std))
        middle = np.array([truth[g].mean() for g in groups])
        (line,) = by_density.plot(middle, mean)
        by_density.fill_between(
            middle, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.2
        )
        spread.hist(error, bins=np.linspace(-0.5, 0.5, 81), histtype="step", density=True)
    covered.plot((0, 1), (0, 1), color="0.7", linewidth=1, zorder=0)
    covered.set(title="Highest-density regions", xlabel="mass claimed", ylabel="share of points")
    covered.legend(frameon=False, fontsize="small")
    by_density.set(
        title="true - model: mean and deviation", xlabel="true log p, nats", ylim=(-0.5, 0.5)
    )
    spread.set(title="true - model, nats", xlabel="nats")
