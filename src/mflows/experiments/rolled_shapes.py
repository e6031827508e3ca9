r"""Rolled shapes: does the default training unroll what is a graph over no plane?

    mflows experiment rolled-shapes --seeds 10 --jobs 2

12,000 points of each shape of ``mflows.simulators.rolled``; the manifold half of the default
recipe, for as many epochs as are the default for so many points. Errors are in units of the data's
standard deviation (root mean square over coordinates), on 5,000 held-out points. Success means a
mean error of at most 1% and a largest error of at most 10%, so no fold and no tear.
"""

import json
import time
from pathlib import Path

import jax.random as jr
import numpy as np
from rich.console import Console

from mflows.data import write_atomically
from mflows.experiments.jobs import run_jobs
from mflows.experiments.tables import table
from mflows.experiments.trained import mark
from mflows.models import m_flow
from mflows.runs import commit
from mflows.saving import save
from mflows.simulators.rolled import SHAPES
from mflows.training import TrainingDiverged, fit, recipes

POINTS, VALIDATION, TEST = 12_000, 0.1, 5_000
MEAN, LARGEST = 0.01, 0.1
"""What counts as a success, in standard deviations."""


def run(
    out: Path,
    models: tuple[str, ...] = ("m-flow",),
    seeds: int = 10,
    quick: bool = False,
    *,
    jobs: int = 1,
    overwrite: bool = False,
) -> None:
    """Train on every shape and seed, print the table, write ``results.json``.

    Only M-flows have a manifold to learn; other ``models`` are left out.
    """
    if "m-flow" not in models:
        raise ValueError(f"Expected m-flow among the models of this experiment; got {models}.")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    rows = json.loads(path.read_text()) if path.is_file() and not overwrite else []
    done = {(row["shape"], row["seed"]) for row in rows}
    work = [
        (out, shape, seed, quick)
        for shape in SHAPES
        for seed in range(seeds)
        if (shape, seed) not in done
    ]
    console = Console()
    for row in run_jobs(_train_and_measure, work, jobs):
        rows.append(row)
        write_atomically(path, json.dumps(rows, indent=2).encode())
        console.print(f"{row['shape']} seed {row['seed']}: {row['mean']:.4f} / {row['max']:.3f}")
    rows.sort(key=lambda row: (list(SHAPES).index(row["shape"]), row["seed"]))
    headers = ("shape", "seed", "mean", "max", "", "seconds")
    console.print(table("Error / standard deviation", headers, map(_cells, rows)))


def _cells(row: dict) -> tuple[str, ...]:
    verdict = "ok" if row["mean"] <= MEAN and row["max"] <= LARGEST else "FAILED"
    numbers = (f"{row['mean']:.4f}", f"{row['max']:.3f}", verdict, f"{row['seconds']:.0f}")
    return row["shape"], f"{row['seed']}{mark(row['status'])}", *numbers


def _train_and_measure(out: Path, name: str, seed: int, quick: bool) -> dict:
    shape = SHAPES[name]
    data_key, test_key, model_key, fit_key = jr.split(jr.key(seed), 4)
    x = np.asarray(shape.draw(data_key, 1_000 if quick else POINTS))
    flow = m_flow(model_key, shape=x.shape[1:], latent_dim=shape.latent_dim)
    started = time.monotonic()
    epochs = 2 if quick else recipes.epochs_for(round((1 - VALIDATION) * POINTS))
    phases = recipes.manifold_then_density(epochs)[:-1]
    try:
        fitted = fit(fit_key, flow, x, phases, validation=VALIDATION, progress=False)
        flow, status = fitted.flow, "finished"
    except TrainingDiverged as error:
        flow, status = error.flow, "diverged"
    seconds = time.monotonic() - started
    save(out / f"{name}-{seed}", flow)
    unit = np.sqrt(x.var(0).mean())
    error = np.asarray(flow.distance(shape.draw(test_key, TEST))) / unit
    numbers = {"mean": float(error.mean()), "max": float(error.max()), "seconds": seconds}
    return {"shape": name, "seed": seed, **numbers, "status": status, "commit": commit()}
