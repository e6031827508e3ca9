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

from functools import partial
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from rich.console import Console
from sklearn.neighbors import NearestNeighbors

from mflows import metrics, runs
from mflows.data import save_array
from mflows.experiments.driver import Experiment, Job, Row, account, folder
from mflows.pages.report import write_report
from mflows.simulators import Lorenz
from mflows.simulators.lorenz import STD

EVENTS, TEST, REFERENCE = 100_000, 10_000, 90_000
FEWER = 50
"""The short version has so many times fewer points."""
FAR = 0.1
_TEST_SEED = 1_000_003


def measure(job: Job) -> Row:
    """Train, and measure on new points and samples, all in standard deviations."""
    model, seed = job.labels["model"], job.seed
    fewer = FEWER if job.quick else 1
    simulator = Lorenz(trajectories=10, end=52.0) if job.quick else Lorenz()

    def simulate(path: Path, count: int, seed: int) -> None:
        x = simulator.simulate(jr.key(seed), jnp.zeros((count // fewer, 0)))
        save_array(path, np.asarray(x), ("x", "y", "z"))

    test = job.file("test.npz", partial(simulate, count=TEST + REFERENCE, seed=_TEST_SEED))
    run = job.train(
        folder(job.out, model, seed),
        job.file(f"train-{seed}.npz", partial(simulate, count=EVENTS, seed=seed)),
        model,
        latent_dim=2,
        simulator="lorenz",
    )
    new, reference = np.split(run.load(test).x, [TEST // fewer])
    error = np.linalg.norm((new - np.asarray(run.flow.project(new))) / STD, axis=1)
    samples = np.asarray(run.flow.sample(jr.key(seed), (len(new),)))
    tree = NearestNeighbors(n_neighbors=1).fit(reference / STD)
    nearest, truth = (tree.kneighbors(part / STD)[0] for part in (samples, new))
    return {
        "reconstruction": float(error.mean()),
        "far": float((error > FAR).mean()),
        "largest": float(error.max()),
        "nearest": float(nearest.mean()),
        "nearest_truth": float(truth.mean()),
        **metrics.two_sample_test(samples / STD, new / STD),
        **account(run),
    }


def finish(out: Path, rows: list[Row]) -> None:
    """Write the report of every run."""
    for row in rows:
        run = runs.open_run(folder(out, row["model"], row["seed"]))
        Console().print(f"Report: {write_report(run)}")


EXPERIMENT = Experiment(
    title="Lorenz attractor, in standard deviations",
    measure=measure,
    system="m-flow",
    axes={"model": ("m-flow",)},
    columns={
        "reconstruction": "reconstr.",
        "far": "> .1 off",
        "largest": "largest",
        "nearest": "nearest",
        "nearest_truth": "of truth",
        "c2st_auc": "two-sample",
        "cpu_seconds": "CPU s",
    },
    finish=finish,
)
