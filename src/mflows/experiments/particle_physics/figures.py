"""Figures of the experiment: constraints, samples, posteriors and learning curves."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
REFERENCE = "alices"


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
            panel.hist(clipped, bins=bins, histtype="step", label=label, **_style(label, off))
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
        for label, x in samples.items():
            style = {"histtype": "step", "density": True, **_style(label, samples)}
            panel.hist(x[:, column], bins=bins, label=label, **style)
        unit = "" if "eta" in name else " [GeV]"
        panel.set(xlabel=name + unit, yticks=[])
    _legend(figure, figure.axes[0])
    figure.savefig(path)


def draw_posteriors(
    path: Path, theta: np.ndarray, found: Mapping[str, Sequence[Float[np.ndarray, "K K"]]]
) -> None:
    """Write contours of 90% mass of posteriors of the same events.

    Systems that learned from points alone are above those that learned from the joint score.

    Args:
        path: File to write.
        theta: True parameters of each set of events, shape (sets, 2).
        found: Label -> log posterior density of each set on the fine grid.
    """
    alone = {label: each for label, each in found.items() if _system(label) == label != REFERENCE}
    scored = {label: each for label, each in found.items() if label not in alone}
    rows = [each for each in (alone, scored) if each]
    size = 4.2 * len(theta), 4.4 * len(rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), len(theta), sharex=True, sharey=True, squeeze=False)
    for line, shown in zip(panels, rows, strict=True):
        for i, (panel, truth) in enumerate(zip(line, theta, strict=True)):
            for label, densities in shown.items():
                density = np.exp(densities[i])
                style = _style(label, found)
                panel.contour(
                    *[axis(FINE)] * 2,
                    density.T,
                    levels=[_level(density, 0.9)],
                    colors=style["color"],
                    linestyles=style["linestyle"],
                )
            panel.plot(*truth, "k*", markersize=11)
            panel.set(xlabel="$c_W$", aspect="equal")
        line[0].set_ylabel(r"$c_{H\tilde W}$")
    handles = [Line2D([], [], label=label, **_style(label, found)) for label in found]
    star = Line2D([], [], color="k", marker="*", linestyle="", label="truth")
    figure.legend(handles=[star, *handles], loc="outside upper center", ncols=4, frameon=False)
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


def _system(label: str) -> str:
    return label.partition(":")[0]


def _style(label: str, among: Iterable[str]) -> dict[str, Any]:
    """A colour for each system, broken lines for those with the joint score."""
    systems = list(dict.fromkeys(map(_system, among)))
    line = "-" if _system(label) == label else "--"
    colour = "k" if label == REFERENCE else f"C{systems.index(_system(label))}"
    return {"color": colour, "linestyle": line}


def _level(density: np.ndarray, mass: float) -> float:
    """The density above which there is so much mass."""
    ordered = np.sort(density.ravel())[::-1]
    return float(ordered[np.searchsorted(np.cumsum(ordered), mass * ordered.sum())])


def _legend(figure: Figure, panel) -> None:
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)
