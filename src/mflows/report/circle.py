"""The figure of the experiment on the circle: densities around it beside the true one."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def draw(
    path: Path,
    angles: np.ndarray,
    truth: np.ndarray,
    found: Mapping[float, Mapping[str, np.ndarray]],
) -> None:
    """Write the figure, in the format of the file's suffix.

    Args:
        path: File to write.
        angles: Angles around the circle, shape (K,).
        truth: True log-density with respect to length, at every angle.
        found: Noise -> system -> log-density that it learned, at every angle. Of an ambient density
            only the shape is shown: it is scaled to integrate to 1 around the circle.
    """
    figure = Figure(figsize=(6 * len(found), 4), layout="constrained")
    all_axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (noise, systems) in zip(all_axes, found.items(), strict=True):
        axes.plot(angles, np.exp(truth), color="0.7", linewidth=5, label="truth")
        for system, log_prob in systems.items():
            density = np.exp(log_prob)
            if system.startswith(("af", "pie")):
                density = density / np.trapezoid(density, angles)
            axes.plot(angles, density, linewidth=1, label=system)
        axes.set(xlabel="angle", title=f"noise {noise:g}")
    all_axes[0].set(ylabel="density per unit length", ylim=(0, 1.5 * np.exp(truth).max()))
    all_axes[-1].legend(frameon=False, fontsize="small")
    figure.savefig(path)
