"""The figure of the experiment on the circle: densities around it beside the true one."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

COLUMNS = 4


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
            if system.startswith(("af", "pie")):
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
