"""Figures of the polynomial surface: density, calibration and manifold beside the known ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mflows import metrics
from mflows.flow import Flow
from mflows.simulators import PolynomialSurface

GRID = 121
POINTS, OUTLIERS = 10_000, 1_000
_SEED = 1_000_003
"""That of the test points."""
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


def draw_manifold(path: Path, flow: Flow) -> None:
    """Data, learned sheet and true sheet at theta = 0, side by side, colours by density.

    The sheet is shown above a disc of the plane of z, as it is learned there: true points,
    projected by the flow.
    """
    simulator, theta = PolynomialSurface(), jnp.zeros(1)
    radius, angle = np.meshgrid(np.linspace(0, 4, 80), np.linspace(0, 2 * np.pi, 160))
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    truth = simulator.embed(z).reshape(-1, 3)
    learned = flow.project(truth, theta)
    data = np.asarray(simulator.simulate(jr.key(_SEED), jnp.zeros((6_000, 1))))
    data = data[np.linalg.norm(np.asarray(simulator.unembed(data)), axis=1) < 4]
    sheets = {
        "learned": (learned, flow.log_prob(learned, theta)),
        "truth": (truth, simulator.log_prob(truth, theta)),
    }
    figure = Figure(figsize=(10, 3.7), dpi=150)
    grid = figure.add_gridspec(1, 3, left=0, right=1, bottom=-0.08, top=1, wspace=0)
    panels = [figure.add_subplot(cell, projection="3d") for cell in grid]
    panels[0].plot(*data.T, ".", markersize=1.6, color="#333333", alpha=0.5, markeredgewidth=0)
    top = np.exp(np.asarray(sheets["truth"][1]).max() / 2)
    for panel, (x, log_prob) in zip(panels[1:], sheets.values(), strict=True):
        shade = np.exp(np.asarray(log_prob) / 2).reshape(radius.shape) / top
        panel.plot_surface(
            *np.asarray(x).T.reshape(3, *radius.shape),
            facecolors=colormaps["viridis"](np.clip(shade, 0, 1)),
            rcount=160,
            ccount=80,
            linewidth=0,
            antialiased=False,
            shade=False,
        )
    titles = ("data", "learned sheet and density", "truth")
    for place, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        figure.text((place + 0.5) / 3, 0.9, title, fontsize=13, ha="center")
        panel.set(xlim=(-4, 4), ylim=(-4, 4), zlim=(-4, 2))
        panel.set_box_aspect((1, 1, 0.75), zoom=1.0)
        panel.view_init(elev=40, azim=45)
        panel.set_axis_off()
    figure.savefig(path, bbox_inches="tight", pad_inches=0.1)


def draw_comparison(path: Path, flow: Flow) -> None:
    """Density and calibration at theta = -1, 0, 1, cross-sections, distances of outliers."""
    simulator = PolynomialSurface()
    axis = np.linspace(-5, 5, GRID)
    on_grid = simulator.embed(np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1))
    maps, calibrations = {}, {}
    for theta in (-1.0, 0.0, 1.0):
        truth = simulator.log_prob(on_grid, np.full((1, 1), theta))
        model = flow.log_prob(on_grid, jnp.array([theta]))
        maps[f"theta = {theta:g}"] = Map(np.asarray(truth), np.asarray(model))
        calibrations[f"theta = {theta:g}"] = _calibration(flow, jnp.array([theta]))
    sections = {}
    for across in (-2.0, 0.0, 2.0):
        z = np.stack([axis, np.full(GRID, across)], axis=-1)
        learned = flow.project(simulator.embed(z), jnp.zeros(1))
        off = np.asarray(learned - simulator.embed(simulator.unembed(learned)))
        error = np.copysign(np.linalg.norm(off, axis=1), off[:, 2])  # the axis of heights is near z
        height = np.asarray(simulator.height(z))
        sections[f"z1 = {across:g}"] = Section(height, height + error)
    points = simulator.ood(jr.key(_SEED), OUTLIERS)
    scores = {
        "on the surface": np.asarray(flow.distance(points.on_manifold, jnp.zeros(1))),
        "with noise": np.asarray(flow.distance(points.off_manifold, jnp.zeros(1))),
    }
    draw(path, axis, maps=maps, sections=sections, calibrations=calibrations, scores=scores)


def _calibration(flow: Flow, theta: jnp.ndarray) -> Calibration:
    simulator = PolynomialSurface()
    true_key, model_key = jr.split(jr.key(_SEED))
    x = simulator.simulate(true_key, jnp.broadcast_to(theta, (POINTS, 1)))
    truth, model = simulator.log_prob(x, theta), flow.log_prob(x, theta)
    _, claimed = flow.sample_and_log_prob(model_key, (POINTS,), theta)
    return Calibration(
        np.asarray(truth), np.asarray(truth - model), metrics.hpd_levels(claimed, model)
    )


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
