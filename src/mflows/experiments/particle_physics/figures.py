"""Figures of the experiment: constraints, samples, posteriors and learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mflows.experiments.particle_physics.posteriors import FINE, axis
from mflows.simulators.physics.features import CONSTRAINTS, NAMES, violations

SHOWN = ("pT(j1)", "E(j2)", "m(jj)", "delta_eta(jj)", "pT(a1)", "m(aa)", "eta(aa)", "px(j1)")
BROKEN = (
    "mass shell of aa",
    "mass shell of jj",
    "pT(j1)",
    "eta(j2)",
    "sum of px(aa)",
    "sum of E(jj)",
)
"""Constraints that are drawn."""


def draw_constraints(path: Path, samples: Mapping[str, Float[np.ndarray, "N 40"]]) -> None:
    """Write histograms of how far samples are off six of the constraints.

    Args:
        path: File to write.
        samples: Label -> events; the truth breaks none.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    off = {label: violations(x) for label, x in samples.items()}
    for panel, name in zip(figure.subplots(2, 3).ravel(), BROKEN, strict=True):
        column, bins = CONSTRAINTS.index(name), np.geomspace(1e-3, 1e3, 61)
        for label, values in off.items():
            clipped = np.clip(values[:, column], bins[0], bins[-1])
            panel.hist(clipped, bins=bins, histtype="step", label=label)
        unit = "" if "eta" in name else ", GeV"
        panel.set(title=f"{name}{unit}", xscale="log", yticks=[])
    figure.supxlabel("how far samples are off the identity", fontsize="medium")
    _legend(figure, figure.axes[0])
    figure.savefig(path)


def draw_samples(path: Path, truth: np.ndarray, samples: Mapping[str, np.ndarray]) -> None:
    """Write histograms of eight features of events (N, 40), of the truth and of samples."""
    figure = Figure(figsize=(14, 6), layout="constrained")
    for panel, name in zip(figure.subplots(2, 4).ravel(), SHOWN, strict=True):
        column = NAMES.index(name)
        low, high = np.quantile(truth[:, column], [0.002, 0.998])
        bins = np.linspace(low, high, 50)
        panel.hist(truth[:, column], bins=bins, density=True, color="0.85", label="truth")
        for i, (label, x) in enumerate(samples.items()):
            style = {"histtype": "step", "density": True, "color": f"C{i}"}
            panel.hist(x[:, column], bins=bins, label=label, **style)
        unit = "" if "eta" in name else " [GeV]"
        panel.set(xlabel=name + unit, yticks=[])
    _legend(figure, figure.axes[0])
    figure.savefig(path)


def draw_posteriors(
    path: Path, theta: np.ndarray, found: Mapping[str, Sequence[Float[np.ndarray, "K K"]]]
) -> None:
    """Write contours of 68 and 95% mass of posteriors of the same events.

    Args:
        path: File to write.
        theta: True parameters of each set of events, shape (sets, 2).
        found: Label -> log posterior density of each set on the fine grid.
    """
    figure = Figure(figsize=(4.2 * len(theta), 4.6), layout="constrained")
    panels = figure.subplots(1, len(theta), sharex=True, sharey=True, squeeze=False)[0]
    fine = axis(FINE)
    for panel, truth, i in zip(panels, theta, range(len(theta)), strict=True):
        for k, densities in enumerate(found.values()):
            density = np.exp(densities[i])
            levels = sorted({_level(density, mass) for mass in (0.68, 0.95)})
            panel.contour(fine, fine, density.T, levels=levels, colors=f"C{k}", linewidths=1)
        panel.plot(*truth, "k*", markersize=11)
        panel.set(xlabel="$c_W$", aspect="equal")
    panels[0].set_ylabel(r"$c_{H\tilde W}$")
    handles = [Line2D([], [], color=f"C{k}") for k in range(len(found))]
    star = Line2D([], [], color="k", marker="*", linestyle="")
    figure.legend(
        [star, *handles], ["truth", *found], loc="outside lower center", ncols=5, frameon=False
    )
    figure.savefig(path)


def draw_learning(path: Path, histories: Mapping[str, Sequence[Mapping]]) -> None:
    """Write the losses of trainings, one panel for each, over the minutes they took."""
    columns = min(4, len(histories))
    rows = -(-len(histories) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (label, history) in zip(panels, histories.items(), strict=False):
        minutes = np.cumsum([row["seconds"] for row in history]) / 60
        twin = None
        for phase in dict.fromkeys(row["phase"] for row in history):
            at = [i for i, row in enumerate(history) if row["phase"] == phase]
            density = phase == "density"
            twin = panel.twinx() if density and len(at) < len(history) else panel
            losses = [history[i]["validation"] for i in at]
            twin.plot(minutes[at], losses, ".-", color="C1" if density else "C0", label=phase)
            if not density:
                twin.set_yscale("log")
        panel.set_title(label, fontsize="small")
        panel.set_xlabel("minutes", fontsize="small")
    for panel in panels[len(histories) :]:
        panel.set_axis_off()
    figure.suptitle(
        "Validation loss: reconstruction (blue, left axis), of the density (orange)",
        fontsize="small",
    )
    figure.savefig(path)


def _level(density: np.ndarray, mass: float) -> float:
    """The density above which there is so much mass."""
    ordered = np.sort(density.ravel())[::-1]
    return float(ordered[np.searchsorted(np.cumsum(ordered), mass * ordered.sum())])


def _legend(figure: Figure, panel) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)
