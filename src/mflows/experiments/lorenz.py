r"""The Lorenz attractor: what a smooth surface makes of a fractal with two lobes.

    mflows experiment lorenz --seeds 1

100,000 points of ``mflows.simulators.Lorenz``, 10% of them for validation, n = 2 in D = 3, the
defaults of this library: 50 epochs, batch 100. (Published are plots, of a flow trained on 10^6
points for 100 epochs, Brehmer & Cranmer 2020, arXiv 2003.13913.) The attractor is no manifold: its
lobes share a seam along which sheets meet, which one chart must bridge, fold or tear.

All lengths are in standard deviations of the coordinates. Reconstruction error is that of 10,000
new points; beside its mean the share of points that are more than .1 off. Nearest: mean distance of
10,000 samples to the nearest of 90,000 other points, and the same for 10,000 new points, the least
that can be expected. Two-sample: AUC of a classifier that tells samples from new points, .5 when it
cannot. The report of the run draws the learned surface with the points.

Seen, median (worst) of five seeds: reconstruction .021 (.030), 3.4% (5.0%) of the points more than
.1 off, near the seam of the lobes, where x and y are small and z is 22; nearest .022 (.025) against
.009 for the truth; two-sample .61 (.63).
"""

import json
import re
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from rich.console import Console
from sklearn.neighbors import NearestNeighbors

from mflows import metrics, runs
from mflows.data import save_array, write_atomically
from mflows.experiments.jobs import run_jobs
from mflows.experiments.tables import table
from mflows.experiments.trained import account, mark, trained
from mflows.pages.report import write_report
from mflows.simulators import Lorenz
from mflows.simulators.lorenz import STD

EVENTS, TEST, REFERENCE = 100_000, 10_000, 90_000
QUICK = 50
"""The short version has so many times fewer points."""
FAR = 0.1
COLUMNS = {
    "reconstruction": "reconstr.",
    "far": "> .1 off",
    "largest": "largest",
    "nearest": "nearest",
    "nearest_truth": "of truth",
    "c2st_auc": "two-sample",
    "cpu_seconds": "CPU s",
}
_TEST_SEED = 1_000_003


def run(
    out: Path,
    models: tuple[str, ...] = ("m-flow",),
    seeds: int = 1,
    quick: bool = False,
    *,
    jobs: int = 1,
    overwrite: bool = False,
) -> None:
    """Train on every seed, print the table, write ``results.json`` and reports.

    ``models`` may name recipes, as ``m-flow:alternating``; those that have no manifold are left
    out.
    """
    chosen = [model for model in models if runs.check_system(model).model == "m-flow"]
    if not chosen:
        raise ValueError(f"Expected m-flow among the models of this experiment; got {models}.")
    out.mkdir(parents=True, exist_ok=True)
    simulator = Lorenz(trajectories=20, end=60.0) if quick else Lorenz()
    fewer = QUICK if quick else 1
    path = _points(
        out / "test.npz", simulator, (TEST + REFERENCE) // fewer, _TEST_SEED, overwrite=overwrite
    )
    for seed in range(seeds):
        train = out / f"train-{seed}.npz"
        _points(train, simulator, EVENTS // fewer, seed, overwrite=overwrite)
    work = [
        (out, model, seed, path, quick, overwrite, jobs == 1)
        for model in chosen
        for seed in range(seeds)
    ]
    rows, console = [], Console()
    for row in run_jobs(_train_and_measure, work, jobs):
        rows = sorted((*rows, row), key=lambda row: (chosen.index(row["model"]), row["seed"]))
        write_atomically(out / "results.json", json.dumps(rows, indent=2).encode())
    title = "Lorenz attractor, in standard deviations"
    console.print(table(title, ("model", "seed", *COLUMNS.values()), map(_cells, rows)))
    for row in rows:
        folder = _folder(out, row["model"], row["seed"])
        console.print(f"Report: {write_report(runs.open_run(folder))}")


def _points(path: Path, simulator: Lorenz, count: int, seed: int, *, overwrite: bool) -> Path:
    if overwrite or not path.is_file():
        x = simulator.simulate(jr.key(seed), jnp.zeros((count, 0)))
        save_array(path, np.asarray(x), ("x", "y", "z"))
    return path


def _folder(out: Path, model: str, seed: int) -> Path:
    return out / f"{re.sub('[:+]', '-', model)}-{seed}"


def _cells(row: dict) -> tuple[str, ...]:
    numbers = (f"{row[name]:.3g}" for name in COLUMNS)
    return row["model"].replace(":", " "), f"{row['seed']}{mark(row['status'])}", *numbers


def _train_and_measure(
    out: Path, model: str, seed: int, test: Path, quick: bool, overwrite: bool, progress: bool
) -> dict:
    system = runs.check_system(model)
    config = runs.Config(
        data=str(out / f"train-{seed}.npz"),
        latent_dim=2,
        model=system.model,
        recipe=system.recipe,
        settings=system.settings,
        epochs=2 if quick else None,
        seed=seed,
        simulator="lorenz",
    )
    run = trained(_folder(out, model, seed), config, overwrite=overwrite, progress=progress)
    new, reference = np.split(run.load(test).x, [TEST // (QUICK if quick else 1)])
    error = np.linalg.norm((new - np.asarray(run.flow.project(new))) / STD, axis=1)
    samples = np.asarray(run.flow.sample(jr.key(seed), (len(new),)))
    tree = NearestNeighbors(n_neighbors=1).fit(reference / STD)
    nearest, truth = (tree.kneighbors(part / STD)[0] for part in (samples, new))
    return {
        "model": model,
        "seed": seed,
        "reconstruction": float(error.mean()),
        "far": float((error > FAR).mean()),
        "largest": float(error.max()),
        "nearest": float(nearest.mean()),
        "nearest_truth": float(truth.mean()),
        **metrics.two_sample_test(samples / STD, new / STD),
        **account(run),
    }
