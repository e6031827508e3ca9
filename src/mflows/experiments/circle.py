r"""Gaussian on a circle (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 4.1).

    mflows experiment circle --seeds 5 --jobs 2

10,000 points with phi ~ N(pi/2, (pi/4)^2) on the unit circle, exactly or with noise 0.01 of the
radius. The density is known, on the circle and, with noise, around it. The
figure ``densities.png`` shows the density of every system around the circle, seed 0.
"""

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from mflows import runs, systems
from mflows.experiments import spheres
from mflows.experiments.driver import Row
from mflows.simulators import GaussianCircle

ANGLES = 721
COLUMNS = 4
"""Panels of the figure side by side."""
SYSTEMS = (
    "fom",
    "m-flow",
    "m-flow:alternating",
    "m-flow:simultaneous",
    "m-flow:optimal-transport",
    "m-flow:alternating-optimal-transport",
    "m-flow:maximum-likelihood",
    "me-flow",
    "pae",
    "pie",
    "af",
)


def finish(out: Path, rows: list[Row]) -> None:
    """Write ``densities.png``."""
    angles = np.linspace(-np.pi, np.pi, ANGLES)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found: dict[str, dict[float, np.ndarray]] = {}
    for row in rows:
        model, noise = row["model"], row["noise"]
        if row["seed"] or (noise == "0" and in_space(model)):
            continue
        flow = runs.open_run(spheres.folder_of(out, model, noise, 0)).flow
        log_prob = np.asarray(flow.log_prob(jnp.asarray(x)))
        found.setdefault(model, {})[float(noise)] = log_prob
    draw(out / "densities.png", angles, np.asarray(GaussianCircle().log_prob(x)), found)


def in_space(model: str) -> bool:
    """Whether a system has a density in the plane, not along the circle."""
    return systems.parse(model).system.density == "in space"


def draw(
    path: Path,
    angles: np.ndarray,
    truth: np.ndarray,
    found: Mapping[str, Mapping[float, np.ndarray]],
) -> None:
    """Write the figure, one panel for every system, in the format of the file's suffix.

    Args:
        path: File to write.
        angles: Angles around the circle, shape (K,).
        truth: True log-density with respect to length, at every angle.
        found: System -> noise -> log-density that it learned, at every angle. Of an ambient density
            only the shape is shown: it is scaled to integrate to 1 around the circle.
    """
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(3 * columns, 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    noises = sorted({noise for densities in found.values() for noise in densities})
    colors = {noise: f"C{index}" for index, noise in enumerate(noises)}
    for axes, (system, densities) in zip(panels, found.items(), strict=False):
        axes.plot(angles, np.exp(truth), color="0.8", linewidth=5, label="truth")
        for noise, log_prob in densities.items():
            density = np.exp(log_prob)
            if in_space(system):
                density = density / np.trapezoid(density, angles)
            axes.plot(angles, density, color=colors[noise], linewidth=1, label=f"noise {noise:g}")
        axes.set_title(system, fontsize="small")
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    panels[0].set(ylim=(0, 1.5 * np.exp(truth).max()))
    figure.supxlabel("angle", fontsize="small")
    figure.supylabel("density per unit length", fontsize="small")
    handles = {
        label: handle
        for axes in panels[: len(found)]
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper right", ncols=3, frameon=False
    )
    figure.savefig(path)


EXPERIMENT = spheres.experiment("Gaussian on a circle", "circle", GaussianCircle, SYSTEMS, finish)
