"""What the experiments on circle and spheres share: data of normal angles with a known density.

Every system is measured against the truth it can know. A flow on a manifold, against the exact
density on the sphere of the points without noise; an ambient density, against the exact one in
space, which exists with noise only. ``log_density_gap`` is the mean of true minus model log-density
over test points: for points from the truth it is the Kullback-Leibler divergence, as far as the
manifolds agree.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from mflows import metrics, systems
from mflows.data import Data, save_array
from mflows.experiments.driver import Experiment, Job, Row, account, folder
from mflows.flow import Flow
from mflows.latents import Thickened
from mflows.models import on_manifold
from mflows.simulators.sphere import AngularGaussian

EVENTS, TEST = 10_000, 10_000
QUICK_EVENTS, QUICK_TEST = 500, 500
EPOCHS_OF = {"optimal-transport": 50, "alternating-optimal-transport": 100}
"""Fewer epochs of the recipes whose steps compare 1,000 samples with 1,000 points."""
_TEST_SEED = 1_000_003
SYSTEMS = ("fom", "m-flow", "m-flow:alternating", "me-flow", "pae", "pie", "af")
QUICK_SYSTEMS = ("fom", "m-flow:alternating")
COLUMNS = {
    "sample_distance": "distance",
    "reconstruction": "reconstr.",
    "log_prob": "log p",
    "log_density_gap": "log p gap",
    "cpu_seconds": "CPU s",
}


def experiment(
    title: str,
    manifold: str,
    simulator: Callable[..., AngularGaussian],
    models: tuple[str, ...] = SYSTEMS,
    finish: Callable[[Path, list[Row]], None] | None = None,
) -> Experiment:
    """An experiment on a sphere.

    Args:
        title: Heading of the table.
        manifold: The prescribed manifold of ``mflows.models.fom``.
        simulator: From ``noise``, the standard deviation across the sphere, to the simulator.
        models: What is trained by default.
        finish: Draws figures.
    """
    return Experiment(
        title=title,
        measure=partial(measure_row, simulator, manifold),
        axes={"model": models, "noise": ("0", "0.01")},
        quick={"model": QUICK_SYSTEMS},
        columns=COLUMNS,
        finish=finish,
    )


def folder_of(out: Path, model: str, noise: str, seed: int) -> Path:
    """Where the run of a row is."""
    return folder(out, model, "noise", float(noise), seed)


def measure_row(simulator: Callable[..., AngularGaussian], manifold: str, job: Job) -> Row:
    """Train, and measure."""
    model, noise = job.labels["model"], float(job.labels["noise"])
    truth = simulator(noise=noise)

    def simulate(path: Path) -> None:
        data = _simulated(truth, jr.key(job.seed), QUICK_EVENTS if job.quick else EVENTS)
        save_array(path, data.x, more={} if data.condition is None else {"theta": data.condition})

    chosen = systems.parse(model)
    run = job.train(
        folder_of(job.out, model, job.labels["noise"], job.seed),
        job.file(f"train-noise-{noise}-{job.seed}.npz", simulate),
        model,
        latent_dim=truth.n,
        epochs=EPOCHS_OF.get(chosen.recipe or ""),
        settings={"manifold": manifold} if "manifold" in chosen.system.settings else {},
        condition=("theta",) if truth.prior.shape[0] else (),
    )
    count = QUICK_TEST if job.quick else TEST
    return {**measure(run.flow, truth, simulator(noise=0.0), count), **account(run)}


def measure(
    flow: Flow, simulator: AngularGaussian, noiseless: AngularGaussian, count: int = TEST
) -> dict[str, float]:
    """All numbers of the table for one flow."""
    test = held_out(simulator, count)
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


def held_out(simulator: AngularGaussian, count: int = TEST) -> Data:
    """Test points, each at its own theta from the prior, the same for all models and seeds."""
    return _simulated(simulator, jr.key(_TEST_SEED), count)


def _simulated(simulator: AngularGaussian, key: jax.Array, count: int) -> Data:
    theta_key, x_key = jr.split(key)
    theta = simulator.prior.sample(theta_key, (count,))
    x = np.asarray(simulator.simulate(x_key, theta))
    return Data(x, np.asarray(theta) if theta.shape[1] else None)
