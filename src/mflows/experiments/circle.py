r"""Gaussian on a circle (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 4.1).

    mflows experiment circle --seeds 5 --jobs 2

10,000 points with phi ~ N(pi/2, (pi/4)^2) on the unit circle, exactly or with noise 0.01 of the
radius. The density is known, on the circle and, with noise, around it. The
figure ``densities.png`` shows the density of every system around the circle, seed 0.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from mflows import runs
from mflows.experiments.circle_figure import draw
from mflows.experiments.spheres import COLUMNS as COLUMNS
from mflows.experiments.spheres import Case, folder_of, run_case
from mflows.simulators import GaussianSphere

ANGLES = 721


def _simulator(noise: float) -> GaussianSphere:
    return GaussianSphere(1, noise=noise)


CASE = Case(
    "Gaussian on a circle",
    "circle",
    _simulator,
    (0.0, 0.01),
    (
        "fom",
        "m-flow",
        "m-flow:alternating",
        "m-flow:simultaneous",
        "m-flow:optimal-transport",
        "m-flow:alternating-optimal-transport",
        "m-flow:maximum-likelihood",
        "me-flow",
        "pae",
        "pie",
        "af",
    ),
)


def run(
    out: Path,
    models: tuple[str, ...] = CASE.systems,
    seeds: int = 1,
    quick: bool = False,
    *,
    jobs: int = 1,
    overwrite: bool = False,
) -> None:
    """Train every system, print the table, write ``results.json`` and ``densities.png``."""
    run_case(CASE, out, models, seeds, quick=quick, jobs=jobs, overwrite=overwrite)
    angles = np.linspace(-np.pi, np.pi, ANGLES)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    truth = np.asarray(_simulator(0.0).log_prob(x))
    found = {
        model: {
            noise: np.asarray(
                runs.open_run(folder_of(out, model, noise, 0)).flow.log_prob(jnp.asarray(x))
            )
            for noise in CASE.noises
            if not (noise == 0 and model.partition(":")[0].partition("+")[0] in ("af", "pie"))
        }
        for model in models
    }
    draw(out / "densities.png", angles, truth, found)
