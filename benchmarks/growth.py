"""How does cost grow with n, D, points and samples?

    taskset -c 1 python benchmarks/growth.py [--quick] [--out FIGURE]

An M-flow of three layers and width 64. Each panel varies one number: n from 2 to 64 at D = 128;
D from 3 to 12,288 at n = 2; the points of one call or of one step from 1 to 100,000, and the
number of samples as far, at (3, 2). Times are CPU times, the least of the rounds. Slopes are those
of a line through the upper half of the points, both axes logarithmic: 1 is cost in proportion.
"""

# ruff: noqa: I001  (timing comes first: it sets threads)
from timing import Call, measure

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullLocator
from ours import m_flow_of, one_step
from rich.console import Console
from rich.table import Table
from sizes import Size

from mflows.training import Reconstruction

LIKELIHOOD, STEP, SAMPLING = "log-likelihood", "training step", "sampling"
COLOURS = {LIKELIHOOD: "C0", STEP: "C1", SAMPLING: "C2"}


class Growth(NamedTuple):
    """Seconds of every kernel against one number."""

    variable: str
    values: np.ndarray
    seconds: dict[str, np.ndarray]


def flow_of(dim: int, latent_dim: int):
    """The flow that all panels share."""
    return m_flow_of(Size(dim, latent_dim, layers=3, linear=False, bins=8))


def scoring(flow, points: int) -> dict[str, Call]:
    """The exact log-likelihood of so many points, and a step of the manifold phase on them."""
    x = 0.1 * jr.normal(jr.key(1), (points, *flow.shape))
    step, arguments = one_step(flow, Reconstruction(), ("chart",), x)
    compiled = eqx.filter_jit(step)

    def train():
        jax.block_until_ready(eqx.filter(compiled(*arguments), eqx.is_array))

    return {LIKELIHOOD: Call(lambda: flow.log_prob(x).block_until_ready()), STEP: Call(train)}


def drawing(flow, points: int) -> dict[str, Call]:
    """So many samples."""
    return {SAMPLING: Call(lambda: flow.sample(jr.key(2), (points,)).block_until_ready())}


def growth(
    variable: str, values: Sequence[int], calls_of: Callable[[int], dict[str, Call]], rounds: int
) -> Growth:
    """Measure at one value after the other, so that only one flow is in memory."""
    best = []
    for value in values:
        seconds = measure(calls_of(value), rounds, clock=time.process_time)
        best.append({name: min(each) for name, each in seconds.items()})
    columns = {name: np.array([each[name] for each in best]) for name in best[0]}
    return Growth(variable, np.array(values), columns)


def panels(quick: bool) -> list[Growth]:
    """All that is measured."""
    rounds = 5 if quick else 20
    small = flow_of(3, 2)
    dims = [3, 12, 48, 192, 768] if quick else [3, 12, 48, 192, 768, 3072, 12_288]
    counts = [10**power for power in range(5 if quick else 6)]
    axes = [2, 4, 8, 16, 32] if quick else [2, 4, 8, 16, 32, 64]
    return [
        growth("latent dimension n", axes, lambda n: scoring(flow_of(128, n), 100), rounds),
        growth("ambient dimension D", dims, lambda dim: scoring(flow_of(dim, 2), 32), rounds),
        growth("points", counts, lambda points: scoring(small, points), rounds),
        growth("samples", counts, lambda points: drawing(small, points), rounds),
    ]


def slope(values: np.ndarray, seconds: np.ndarray) -> float:
    """Of the logarithms, over the upper half of the points."""
    upper = slice(len(values) // 2, None)
    return float(np.polyfit(np.log(values[upper]), np.log(seconds[upper]), 1)[0])


def draw(found: list[Growth], path: Path) -> None:
    """One panel per variable, its lines labelled with their slopes."""
    figure, axes = plt.subplots(1, len(found), figsize=(15, 3.2), sharey=True, layout="tight")
    for axis, panel in zip(axes, found, strict=True):
        highest = max(seconds[-1] for seconds in panel.seconds.values())
        for name, seconds in panel.seconds.items():
            colour, end = COLOURS[name], (panel.values[-1], 1e3 * seconds[-1])
            axis.plot(panel.values, 1e3 * seconds, "o-", color=colour, markersize=3, linewidth=1.2)
            axis.annotate(
                f"{name}\nslope {slope(panel.values, seconds):.2f}",
                end,
                xytext=(6, 0),
                textcoords="offset points",
                color=colour,
                va="bottom" if seconds[-1] == highest else "top",
                fontsize=8,
            )
        axis.set(xscale="log", yscale="log", xlabel=panel.variable)
        axis.set_xticks(panel.values, [f"{value:,}" for value in panel.values])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.tick_params(axis="x", labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("ms per call")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer values and rounds")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/growth.png"))
    arguments = parser.parse_args()
    found = panels(arguments.quick)
    table = Table("", "from", "to", "ms, first", "ms, last", "slope, upper half", title="Growth")
    for panel in found:
        for name, seconds in panel.seconds.items():
            table.add_row(
                f"{name} against {panel.variable}",
                f"{panel.values[0]:,}",
                f"{panel.values[-1]:,}",
                f"{1e3 * seconds[0]:.3g}",
                f"{1e3 * seconds[-1]:.3g}",
                f"{slope(panel.values, seconds):.2f}",
            )
    Console(width=130).print(table)
    draw(found, arguments.out)


if __name__ == "__main__":
    main()
