r"""Geodesics of learned manifolds beside those that are known.

    mflows experiment geodesics --seeds 3

Fifty pairs of points that training has not seen, on three manifolds:

* the prescribed sphere, nothing trained: great circles
* a swiss roll of 12,000 points, learned: straight lines of the unrolled sheet
* the polynomial surface of 100,000 points at theta = 0, learned: the shortest curves on the true
  surface, by SciPy's L-BFGS in double precision from the line between the true coordinates; and
  shortest paths over a fine mesh, whose edges lead to 96 neighbours, so that they are up to .5%
  too long

A row has the error of the length, relative to the true one, median and largest of the pairs, and
how much longer the straight line between the coordinates is.
"""

import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import StandardNormal

from mflows.charts import Sphere
from mflows.data import save_array
from mflows.experiments.driver import Experiment, Job, Row, folder
from mflows.experiments.geodesics.figures import draw
from mflows.experiments.geodesics.truth import (
    by_scipy,
    great_circles,
    lengths_of,
    over_mesh,
    unrolled,
)
from mflows.flow import Flow
from mflows.riemannian import geodesic
from mflows.runs import commit
from mflows.saving import load
from mflows.simulators import PolynomialSurface
from mflows.simulators.rolled import SwissRoll
from mflows.training import recipes

PAIRS = 50
STEPS = 64
SURFACE, ROLL = 100_000, 12_000
"""Points to learn from."""
FINE = 10
"""Points along a step of the straight line, for its length."""

Lengths = Callable[[np.ndarray, np.ndarray], np.ndarray]


def measure(job: Job) -> Row:
    """Geodesics between pairs of points of one manifold."""
    name, key = job.labels["manifold"], jr.key(1_000 + job.seed)
    pairs = 4 if job.quick else PAIRS
    if name == "sphere":
        x = np.asarray(jr.normal(key, (2 * pairs, 3)))
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        flow, truth = Flow(Sphere(2), StandardNormal((2,))), great_circles
    else:
        x, truth = new_points(name, key, 2 * pairs)
        flow = learned(job, name)
    a, b = x[:pairs], x[pairs:]
    geodesic(flow, a, b, steps=STEPS)  # compiled
    started = time.perf_counter()
    found = jax.tree.map(np.asarray, geodesic(flow, a, b, steps=STEPS))
    seconds = (time.perf_counter() - started) / pairs
    true = truth(a, b)
    error = np.abs(found.length / true - 1)
    start, end = (np.asarray(flow.encode(each)) for each in (a, b))
    line = np.asarray(flow.decode(np.linspace(start, end, FINE * STEPS, axis=1)))
    row = {
        "error": float(np.median(error)),
        "error_max": float(error.max()),
        "converged": float(found.converged.mean()),
        "straight": float(np.median(lengths_of(line) / true - 1)),
        "straight_max": float((lengths_of(line) / true - 1).max()),
        "reconstruction": float(np.asarray(flow.distance(x)).mean()),
        "seconds": seconds,
        "commit": commit(),
        "status": "finished",
    }
    if name == "polynomial-surface":
        count = 2 if job.quick else 10
        row["mesh"] = float(np.median(over_mesh(a[:count], b[:count]) / true[:count] - 1))
    return row


def learned(job: Job, name: str) -> Flow:
    """An M-flow of the manifold of this name."""
    surface = name == "polynomial-surface"
    count = 500 if job.quick else SURFACE if surface else ROLL

    def write(path: Path) -> None:
        key = jr.key(job.seed)
        theta = jnp.zeros((count, 1))
        x = PolynomialSurface().simulate(key, theta) if surface else SwissRoll().draw(key, count)
        save_array(path, np.asarray(x))

    return job.train(
        folder(job.out, name, job.seed),
        job.file(f"{name}-{job.seed}.npy", write),
        "m-flow",
        latent_dim=2,
        epochs=50 if surface else recipes.epochs_for(round(0.9 * ROLL)),
        settings={"bins": 16} if surface else None,
        validation_fraction=0.25 if surface else 0.1,
    ).flow


def new_points(name: str, key, count: int) -> tuple[np.ndarray, Lengths]:
    """Points of a manifold, and the true lengths of the geodesics between such points."""
    if name == "swiss-roll":
        return np.asarray(SwissRoll().draw(key, count)), unrolled
    x = PolynomialSurface().simulate(key, jnp.zeros((count, 1)))
    return np.asarray(x), by_scipy


def finish(out: Path, rows: list[Row]) -> None:
    """A figure of the learned surface of the first seed, and of the arm."""
    for row in rows:
        if row["manifold"] == "polynomial-surface":
            flow = load(folder(out, row["manifold"], row["seed"]))
            draw(out / "geodesics.png", flow, quick=row.get("quick", False))
            return


EXPERIMENT = Experiment(
    title="Geodesics: error of the length, relative",
    measure=measure,
    system="m-flow",
    axes={"manifold": ("sphere", "swiss-roll", "polynomial-surface")},
    quick={"manifold": ("sphere", "polynomial-surface")},
    seeds=3,
    columns={
        "error": "error",
        "error_max": "largest",
        "converged": "converged",
        "straight": "straight line",
        "mesh": "mesh, longer by",
        "reconstruction": "reconstr.",
        "seconds": "s per pair",
    },
    finish=finish,
)
