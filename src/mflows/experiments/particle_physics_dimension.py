"""How many dimensions 40 features of collider events have: reconstruction against n.

    mflows experiment particle-physics-dimension --jobs 2 --budget 5

Standard Model events of ``mflows simulate wbf-higgs``, theta = 0. Only the manifold is learned, by
reconstruction, for as many epochs for every n as the budget of minutes holds for the first one. By
construction there are 14 dimensions: two photons without mass and two jets with E and p. Two of
them, the jets' masses, are nearly invisible beside the jets' energies, so that the error is
expected to fall steeply up to n = 12, and slowly after it. Flows have heavy tails, as in
``particle-physics``.

``reconstruction`` is the mean distance of test events to their projections, in units of the
features' standard deviations.
"""

import time
from pathlib import Path

import jax.random as jr
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from mflows import systems
from mflows.data import Data
from mflows.experiments.budget import epochs_within
from mflows.experiments.driver import Experiment, Job, Row, folder
from mflows.experiments.particle_physics import (
    BATCH,
    pools,
    prepare,
)
from mflows.experiments.particle_physics.measures import TEST, off_the_sheet
from mflows.runs import commit
from mflows.saving import save
from mflows.simulators.physics.features import NAMES
from mflows.training import TrainingDiverged, fit, manifold_phase

RATE = 4e-3


def measure(job: Job) -> Row:
    """Learn a manifold of n dimensions, and measure how far events are off it."""
    model, n = job.labels["model"], int(job.labels["n"])
    train, test = pools(job.out, quick=job.quick)
    data = Data(train.x, names=NAMES)
    key, fit_key = jr.split(jr.key(job.seed))
    small = {"width": 8, "blocks": 1} if job.quick else {}
    flow = systems.system(model).build(key, data.shape, n, tails=True, **small)

    def learn(points: Data, epochs: int):
        phase = manifold_phase(epochs, BATCH, RATE)
        return fit(fit_key, flow, points, [phase], progress=job.progress)

    epochs = (
        epochs_within(job, model, data, BATCH, lambda points, epochs: learn(points, epochs).history)
        or 2
    )
    started = time.process_time()
    try:
        found, status = learn(data, epochs).flow, "finished"
    except TrainingDiverged as error:
        found, status = error.flow, "diverged"
    save(folder(job.out, model, n, job.seed), found)
    distance = off_the_sheet(found, test.x[:TEST], test.x.std(axis=0))
    return {
        "status": status,
        "reconstruction": float(distance.mean()),
        "reconstruction_q99": float(np.quantile(distance, 0.99)),
        "epochs": epochs,
        "cpu_seconds": time.process_time() - started,
        "commit": commit(),
    }


def finish(out: Path, rows: list[Row]) -> None:
    """Draw the error against n."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    panel = figure.subplots()
    for i, model in enumerate(dict.fromkeys(row["model"] for row in rows)):
        each = [row for row in rows if row["model"] == model]
        n, error = np.array([(int(row["n"]), row["reconstruction"]) for row in each]).T
        dimensions = np.unique(n)
        medians = [np.median(error[n == k]) for k in dimensions]
        panel.plot(n, error, "o", color=f"C{i}", alpha=0.5)
        panel.plot(dimensions, medians, color=f"C{i}", label=model)
    panel.axvline(12, color="0.7", linestyle=":")
    panel.axvline(14, color="0.7", linestyle="--", label="dimension of the events")
    panel.set(xlabel="n", ylabel="reconstruction error", yscale="log")
    panel.legend(frameon=False)
    figure.savefig(out / "reconstruction.png", dpi=150)
    Console().print(f"Figure: {out / 'reconstruction.png'}")


EXPERIMENT = Experiment(
    title="Reconstruction of collider events against n",
    measure=measure,
    free=("n",),
    axes={"n": ("8", "10", "11", "12", "13", "14", "16"), "model": ("pae", "m-flow")},
    quick={"n": ("14",), "model": ("pae",)},
    columns={
        "reconstruction": "reconstr.",
        "reconstruction_q99": "99%",
        "epochs": "epochs",
        "cpu_seconds": "CPU s",
    },
    budget=5.0,
    prepare=prepare,
    finish=finish,
)
