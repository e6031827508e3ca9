r"""Why an M-flow is not trained by maximum likelihood alone: its manifold leaves the data.

    mflows experiment ill-posed-likelihood --seeds 3

Angles phi ~ N(pi/2, (pi/4)^2) on the unit circle, 10,000 points in the plane, n = 1. The density of
a point is that of its projection, so that a manifold can win by moving the projections together.
Circles of radius r show it (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 3.1, with lines): with
the radial projection and the best density of the angle each has

    -mean log p = h + log r,      reconstruction error |1 - r|

with h the entropy of the data. Every r < 1 beats the truth, r -> 0 without bound.

An M-flow is trained by the likelihood of chart and density alone, and by sequential M/D training,
for as many epochs. Expected on every seed: the first projects all data to one place far from them,
with -log p below -15 nats and falling; the second has a mean reconstruction error below .002 and
-log p within .05 nats of the truth, 1.18. Written are ``results.json``, with both numbers after
every epoch, and ``figure.png``.
"""

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from rich.console import Console

from mflows.data import write_atomically
from mflows.experiments.jobs import run_jobs
from mflows.experiments.tables import table
from mflows.experiments.trained import mark
from mflows.flow import Flow
from mflows.models import m_flow
from mflows.runs import commit
from mflows.simulators import GaussianSphere
from mflows.training import Batch, Phase, density_phase, manifold_phase, recipes
from mflows.training.epoch import begin
from mflows.training.rows import Rows

POINTS, TEST, EPOCHS = 10_000, 2_000, 24
CIRCLE = GaussianSphere(1, dim=2, noise=0.0)
RADII = np.geomspace(0.05, 1.5, 60)
_TEST_SEED = 1_000_003


def _manifold_then_density(epochs: int) -> list[Phase]:
    """Without unrolling: the circle is closed but for the few points that are far in the tails."""
    return [manifold_phase(epochs // 2), density_phase(epochs - epochs // 2)]


WAYS = {
    "manifold, then density": _manifold_then_density,
    "likelihood alone": recipes.maximum_likelihood,
}


def run(
    out: Path,
    models: tuple[str, ...] = ("m-flow",),
    seeds: int = 3,
    quick: bool = False,
    *,
    jobs: int = 1,
    overwrite: bool = False,
) -> None:
    """Train both ways on every seed, print the table, write ``results.json`` and the figure.

    Only the M-flow is trained; other ``models`` are left out. Nothing is kept from earlier runs.
    """
    if "m-flow" not in models:
        raise ValueError(f"Expected m-flow among the models of this experiment; got {models}.")
    out.mkdir(parents=True, exist_ok=True)
    work = [(way, seed, quick) for way in WAYS for seed in range(seeds)]
    rows = []
    for row in run_jobs(_train_and_measure, work, jobs):
        rows = sorted(
            (*rows, row), key=lambda row: (list(WAYS).index(row["training"]), row["seed"])
        )
        write_atomically(out / "results.json", json.dumps(rows, indent=2).encode())
    test = _circle(jr.key(_TEST_SEED), TEST)
    entropy = -float(CIRCLE.log_prob(test).mean())
    _draw(out / "figure.png", test, entropy, rows)
    console = Console()
    headers = ("training", "seed", "-log p", "reconstruction", "largest")
    console.print(table(f"Circle, true -log p = {entropy:.3f}", headers, map(_cells, rows)))
    console.print(f"Figure: {out / 'figure.png'}")


def _circle(key, count: int) -> jax.Array:
    """Points of the circle, shape (count, 2)."""
    return CIRCLE.simulate(key, jnp.zeros((count, 0)))


def _cells(row: dict) -> tuple[str, ...]:
    numbers = (f"{row[name]:.3g}" for name in ("nll", "reconstruction", "largest"))
    return row["training"], f"{row['seed']}{mark(row['status'])}", *numbers


def _train_and_measure(way: str, seed: int, quick: bool) -> dict[str, Any]:
    data_key, model_key, train_key = jr.split(jr.key(seed), 3)
    x = _circle(data_key, 500 if quick else POINTS)
    test = _circle(jr.key(_TEST_SEED), TEST)
    size = {"chart_layers": 2, "latent_layers": 1, "bins": 4, "width": 8} if quick else {}
    start = m_flow(model_key, shape=(2,), latent_dim=1, **size)
    history, status = [], "finished"
    curve = np.zeros((0, 2))
    for flow in _epochs(train_key, start, Batch(x, None), WAYS[way](2 if quick else EPOCHS)):
        log_prob, distance = (np.asarray(a) for a in flow.log_prob_and_distance(test))
        row = {"nll": float(-log_prob.mean()), "reconstruction": float(distance.mean())}
        row["largest"] = float(distance.max())
        if not all(map(math.isfinite, row.values())):
            status = "diverged"
            break
        history.append(row)
        u = np.asarray(flow.encode(test))
        curve = np.asarray(flow.decode(np.linspace(u.min(0), u.max(0), 400)))
    last = history[-1] if history else dict.fromkeys(("nll", "reconstruction", "largest"), math.nan)
    named = {"training": way, "seed": seed, "status": status, "commit": commit()}
    return {**named, **last, "history": history, "curve": curve.tolist()}


def _epochs(key, flow: Flow, batch: Batch, phases: list[Phase]):
    """Yield the flow, as it is, after every epoch of every phase."""
    for number, phase in enumerate(phases):
        phase_key = jr.fold_in(key, number)
        if phase.start is not None:
            flow = phase.start(phase_key, flow, batch)
        prepare = getattr(phase.objective, "prepare", None)
        rows = Rows(batch if prepare is None else prepare(flow, batch))
        loop, state = begin(phase_key, flow, phase, rows)
        for epoch in range(phase.epochs):
            state, _ = loop.epoch(state, epoch)
            flow = loop.flow(state.parameters)
            yield flow


def _draw(path: Path, test: jax.Array, entropy: float, rows: list[dict]) -> None:
    from mflows.experiments.ill_posed_figure import Training, draw

    draw(
        path,
        x=np.asarray(test),
        family={float(r): (entropy + math.log(r), abs(1 - r)) for r in RADII},
        trained={
            way: [
                Training(
                    np.array(row["curve"]).reshape(-1, 2),
                    [epoch["nll"] for epoch in row["history"]],
                    [epoch["reconstruction"] for epoch in row["history"]],
                )
                for row in rows
                if row["training"] == way
            ]
            for way in WAYS
        },
        truth=entropy,
    )
