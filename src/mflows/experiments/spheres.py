"""What the experiments on circle and spheres share: data of normal angles with a known density.

Every system is measured against the truth it can know. A flow on a manifold, against the exact
density on the sphere of the points without noise; an ambient density, against the exact one in
space, which exists with noise only. ``log_density_gap`` is the mean of true minus model log-density
over test points: for points from the truth it is the Kullback-Leibler divergence, as far as the
manifolds agree.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from rich.console import Console

from mflows import metrics, runs
from mflows.data import Data, save_array, write_atomically
from mflows.experiments.jobs import run_jobs
from mflows.experiments.tables import table
from mflows.experiments.trained import account, mark, trained
from mflows.flow import Flow
from mflows.latents import Thickened
from mflows.models import on_manifold
from mflows.simulators.sphere import AngularGaussian

EVENTS, QUICK_EVENTS, TEST = 10_000, 1_000, 10_000
EPOCHS_OF = {"optimal-transport": 50, "alternating-optimal-transport": 100}
"""Fewer epochs of the recipes whose steps compare 1,000 samples with 1,000 points."""
_TEST_SEED = 1_000_003
COLUMNS = {
    "sample_distance": "distance",
    "reconstruction": "reconstr.",
    "log_prob": "log p",
    "log_density_gap": "log p gap",
    "cpu_seconds": "CPU s",
}


class Case(NamedTuple):
    """An experiment.

    Args:
        title: Heading of the table.
        manifold: The prescribed manifold of ``mflows.models.fom``.
        simulator: From the noise to the simulator.
        noises: Standard deviations across the sphere; 0 is exactly on it.
        systems: What is trained by default.
    """

    title: str
    manifold: str
    simulator: Callable[[float], AngularGaussian]
    noises: tuple[float, ...]
    systems: tuple[str, ...]


def run_case(
    case: Case,
    out: Path,
    models: tuple[str, ...],
    seeds: int,
    *,
    quick: bool,
    jobs: int,
    overwrite: bool,
) -> None:
    """Train every system on every seed and noise, print the table, write ``results.json``."""
    out.mkdir(parents=True, exist_ok=True)
    work = [
        (case, out, model, noise, seed, quick, overwrite, jobs == 1)
        for seed in range(seeds)
        for noise in case.noises
        for model in models
    ]
    rows: list[dict[str, Any]] = []
    for row in run_jobs(_train_and_measure, work, jobs):
        rows.append(row)
        rows.sort(key=lambda row: (row["noise"], models.index(row["model"]), row["seed"]))
        write_atomically(out / "results.json", json.dumps(rows, indent=2).encode())
    headers = ("model", "noise", "seed", *COLUMNS.values())
    Console().print(table(case.title, headers, map(_cells, rows)))


def runner(case: Case) -> Callable[..., None]:
    """The ``run`` function of an experiment that is a case and nothing more."""

    def run(
        out: Path,
        models: tuple[str, ...] = case.systems,
        seeds: int = 1,
        quick: bool = False,
        *,
        jobs: int = 1,
        overwrite: bool = False,
    ) -> None:
        run_case(case, out, models, seeds, quick=quick, jobs=jobs, overwrite=overwrite)

    return run


def folder_of(out: Path, model: str, noise: str | float, seed: int) -> Path:
    """Where the run of a row is."""
    return out / f"{re.sub('[:+]', '-', model)}-noise-{noise}-{seed}"


def test_points(simulator: AngularGaussian) -> Data:
    """Test points, each at its own theta from the prior, the same for all models and seeds."""
    return _simulated(simulator, jr.key(_TEST_SEED), TEST)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    numbers = (f"{row[name]:.3g}" if name in row else "-" for name in COLUMNS)
    model = re.sub("[:+]", " ", row["model"])
    return model, row["noise"], f"{row['seed']}{mark(row['status'])}", *numbers


def _train_and_measure(
    case: Case,
    out: Path,
    model: str,
    noise: float,
    seed: int,
    quick: bool,
    overwrite: bool,
    progress: bool,
) -> dict[str, Any]:
    simulator = case.simulator(noise)
    path = out / f"train-noise-{noise}-{seed}.npz"
    if overwrite or not path.is_file():
        data = _simulated(simulator, jr.key(seed), QUICK_EVENTS if quick else EVENTS)
        more = {} if data.condition is None else {"theta": data.condition}
        save_array(path, data.x, more=more)
    system = runs.check_system(model)
    settings: dict[str, Any] = dict(system.settings)
    if system.model == "fom":
        settings["manifold"] = case.manifold
    config = runs.Config(
        data=str(path),
        latent_dim=None if system.model in ("af", "fom") else simulator.n,
        model=system.model,
        recipe=system.recipe,
        settings=settings,
        condition=("theta",) if simulator.prior.shape[0] else (),
        epochs=4 if quick else EPOCHS_OF.get(system.recipe or ""),
        seed=seed,
    )
    run = trained(
        folder_of(out, model, noise, seed), config, overwrite=overwrite, progress=progress
    )
    # A label, not a number to average over.
    named = {"model": model, "noise": f"{noise:g}", "seed": seed}
    return {**named, **measure(run.flow, simulator, case.simulator(0.0)), **account(run)}


def measure(flow: Flow, simulator: AngularGaussian, noiseless: AngularGaussian) -> dict[str, float]:
    """All numbers of the table for one flow."""
    test = test_points(simulator)
    given = None if test.condition is None else jnp.asarray(test.condition, dtype=float)
    samples = flow.sample(jr.key(0), (len(test),) if given is None else (), given)
    found = metrics.sample_distance(samples, simulator)
    ambient = flow.is_ambient
    sheet = on_manifold(flow) if isinstance(flow.latent, Thickened) else flow
    if not sheet.is_ambient:
        found |= metrics.reconstruction_error(sheet, test)
    if not flow.has_density:
        return found
    log_prob = np.asarray(flow.log_prob(test.x, given))
    found["log_prob"] = float(log_prob.mean())
    if ambient and simulator.noise == 0:
        return found  # no density in space to compare with
    theta = np.zeros((len(test), 0)) if given is None else given
    truth = np.asarray((simulator if ambient else noiseless).log_prob(test.x, theta))
    error = truth - log_prob
    return found | {"log_density_gap": float(error.mean()), "log_density_std": float(error.std())}


def _simulated(simulator: AngularGaussian, key: jax.Array, count: int) -> Data:
    theta_key, x_key = jr.split(key)
    theta = simulator.prior.sample(theta_key, (count,))
    x = np.asarray(simulator.simulate(x_key, theta))
    return Data(x, np.asarray(theta) if theta.shape[1] else None)
