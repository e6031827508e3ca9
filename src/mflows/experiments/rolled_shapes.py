r"""Rolled shapes: does the default training unroll what is a graph over no plane?

    mflows experiment rolled-shapes --seeds 10 --jobs 2

12,000 points of each shape of ``mflows.simulators.rolled``; the manifold half of the default
recipe, for as many epochs as are the default for so many points. Errors are in units of the data's
standard deviation (root mean square over coordinates), on 5,000 held-out points. Success means a
mean error of at most 1% and a largest error of at most 10%, so no fold and no tear.
"""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np
from rich.console import Console

from mflows.experiments.driver import Experiment, Job, Row
from mflows.models import m_flow
from mflows.runs import commit
from mflows.saving import save
from mflows.simulators import rolled
from mflows.training import TrainingDiverged, fit, recipes
from mflows.training.starts import flat_or_rolled

SHAPES: dict[str, rolled.RolledShape] = {
    "swiss-roll": rolled.SwissRoll(),
    "s-curve": rolled.SCurve(),
    "spiral": rolled.Spiral(),
}
POINTS, VALIDATION, TEST = 12_000, 0.1, 5_000
MEAN, LARGEST = 0.01, 0.1
"""What counts as a success, in standard deviations."""


def measure(job: Job) -> Row:
    """Train, and measure the errors on new points."""
    name, shape = job.labels["shape"], SHAPES[job.labels["shape"]]
    data_key, test_key, model_key, fit_key = jr.split(jr.key(job.seed), 4)
    x = np.asarray(shape.draw(data_key, 1_000 if job.quick else POINTS))
    flow = m_flow(model_key, shape=x.shape[1:], latent_dim=shape.latent_dim)
    started = time.monotonic()
    epochs = 2 if job.quick else recipes.epochs_for(round((1 - VALIDATION) * POINTS))
    phases = recipes.manifold_then_density(epochs)[:-1]
    if job.quick:
        shorter: dict[str, Any] = {"choose": partial(flat_or_rolled, candidates=1, steps=60)}
        phases = [replace(phases[0], **shorter)]
    try:
        fitted = fit(fit_key, flow, x, phases, validation=VALIDATION, progress=False)
        flow, status = fitted.flow, "finished"
    except TrainingDiverged as error:
        flow, status = error.flow, "diverged"
    seconds = time.monotonic() - started
    save(job.out / f"{name}-{job.seed}", flow)
    unit = np.sqrt(x.var(0).mean())
    error = np.asarray(flow.distance(shape.draw(test_key, TEST))) / unit
    numbers = {"mean": float(error.mean()), "max": float(error.max()), "seconds": seconds}
    return {**numbers, "status": status, "commit": commit()}


def finish(out: Path, rows: list[Row]) -> None:
    """Say which sheets are whole."""
    for row in rows:
        whole = row["mean"] <= MEAN and row["max"] <= LARGEST
        verdict = "ok" if whole else "FAILED"
        Console().print(f"{row['shape']} seed {row['seed']}: {verdict}")


EXPERIMENT = Experiment(
    title="Error / standard deviation",
    measure=measure,
    system="m-flow",
    axes={"shape": tuple(SHAPES)},
    quick={"shape": ("spiral",)},
    seeds=10,
    columns={"mean": "mean", "max": "max", "seconds": "seconds"},
    finish=finish,
)
