r"""What experiments on images of a known density measure, such as ``arm``.

10,000 images to train on, at theta from the prior where there is one, and 1,000 to test on, at
theta = 0. Every system trains for as many minutes (``--budget``), compiling not counted. The
coordinates z of test images are known, and so is their exact log-density.

* reconstruction: root mean square of test images less their projections, per pixel, in units of
  the pixels' standard deviation (that of all pixels and images about the mean image);
* gap: mean over test images of |log p_model - log p_true|, in nats; ``gap_mean`` is that of the
  difference. Of systems whose density is on a manifold; of PIE that on its sheet;
* coverage_90: share of test images within the region of highest density of mass 90% of the
  model's own samples; ``coverage_error`` is the largest error over all masses;
* off: root mean square distance of samples to the true manifold, per pixel, in the same units;
* frechet, kernel: distances of samples and other images of the truth, as many of both, by the
  features that the row names;
* AUC: images of another manifold against test images, by distance to the model's manifold, and
  ``auc_log_prob`` by -log p;
* log_posterior: of the true theta, of 20 images, mean over five sets at each of three theta, with
  a uniform grid over the prior's range (for a normal prior: 3 standard deviations);
  ``true_log_posterior`` is that of the true density;
* seconds of 1,000 exact likelihoods, compiled before.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array
from matplotlib.figure import Figure
from rich.console import Console
from scipy.special import logsumexp

from mflows import metrics, models, runs
from mflows.data import save_array
from mflows.experiments.budget import epochs_of_run
from mflows.experiments.driver import Experiment, Job, Row, account, folder
from mflows.flow import Flow
from mflows.inference import log_likelihood, support
from mflows.inference.likelihood import LogLikelihood
from mflows.latents import Thickened
from mflows.simulators.immersion import Immersion

TRAIN, TEST, FEW = 10_000, 1_000, 200
SETS, IMAGES, GRID = 5, 20, 41
COMPONENTS = 64
SETTINGS: dict[str, dict[str, Any]] = {
    "af": {"network": "convolutional", "layers": 2, "channels": 16},
    "pie": {"affine": True, "chart_layers": 6, "blocks": 2},
}
"""Of systems by name; others have those of the library. PIE has the layers of the M-flow: splines
do nothing beyond 6 units, and the first principal component of arms has a standard deviation of
30."""
SYSTEMS = ("af", "pie", "pae", "m-flow", "me-flow")
Make = Callable[[Mapping[str, str], bool], Immersion]


def experiment(
    title: str,
    make: Make,
    strange: Make,
    axes: Mapping[str, Sequence[str]],
    quick: Mapping[str, Sequence[str]],
    **more: Any,
) -> Experiment:
    """An experiment on the images of a simulator.

    Args:
        title: Heading of the table.
        make: From the labels of a row, and whether it is the short version, to the simulator.
        strange: The same for the images of another manifold.
        axes: As for ``Experiment``.
        quick: As for ``Experiment``.
        **more: Further fields of ``Experiment``.
    """
    return Experiment(
        title=title,
        measure=partial(_measure, make=make, strange=strange),
        axes=axes,
        quick=quick,
        columns={
            "reconstruction": "reconstr.",
            "gap": "gap",
            "coverage_90": "coverage",
            "off": "off",
            "frechet": "Frechet",
            "auc": "AUC",
            "log_posterior": "posterior",
            "seconds": "s of 1,000",
            "cpu_seconds": "CPU s",
        },
        budget=30.0,
        finish=partial(_draw, axes=[name for name in axes if name != "model"]),
        **more,
    )


def _measure(job: Job, make: Make, strange: Make) -> Row:
    """Train a system for its budget, and measure."""
    model = job.labels["model"]
    truth = make(job.labels, job.quick)
    train, test = (
        job.file(
            "-".join([part, *_others(job.labels), f"{job.seed}.npz"]),
            lambda path, part=part: _simulate(path, truth, job, test=part == "test"),
        )
        for part in ("train", "test")
    )
    where = folder(job.out, *job.labels.values(), job.seed)
    asked: dict[str, Any] = {
        "latent_dim": truth.latent_dim,
        "settings": SETTINGS.get(model, {}),
        "condition": ("theta",) if truth.prior.shape[0] else (),
    }
    epochs = epochs_of_run(job, where, train, model, **asked)
    run = job.train(where, train, model, epochs=epochs, **asked)
    with np.load(test) as known:
        row = _numbers(run.flow, truth, dict(known), strange(job.labels, job.quick), job)
    return {**account(run), "epochs": len(run.history), **row}


def _others(labels: Mapping[str, str]) -> list[str]:
    return [value for name, value in labels.items() if name != "model"]


def _simulate(path: Path, truth: Immersion, job: Job, *, test: bool) -> None:
    """Images at theta from the prior, or those to test at theta = 0 with their exact density."""
    count = (TEST if test else TRAIN) // (20 if job.quick else 1)
    theta_key, key = jr.split(jr.fold_in(jr.key(job.seed), int(test)))
    prior = truth.prior.sample(theta_key, (count,))
    theta = jnp.zeros_like(prior) if test else prior
    x, score = truth.simulate_with_joint_score(key, theta)
    more = {"theta": theta, "joint_score": score} if theta.shape[1] else {}
    if test:
        z = truth.latents(key, theta)
        more |= {"z": z, "log_prob": truth.log_prob_of(z, theta)}
    save_array(path, np.asarray(x, np.float32), more={k: np.asarray(v) for k, v in more.items()})


def _numbers(
    flow: Flow, truth: Immersion, test: Mapping[str, np.ndarray], strange: Immersion, job: Job
) -> Row:
    x = test["x"]
    unit = float(np.sqrt(np.var(x, axis=0).mean()))
    theta = None if flow.cond_shape is None else jnp.zeros((len(x), *flow.cond_shape))
    key = jr.fold_in(jr.key(job.seed), 2)
    samples = np.asarray(flow.sample(key, () if theta is not None else (len(x),), theta))
    row: Row = {}
    sheet = models.on_manifold(flow) if isinstance(flow.latent, Thickened) else flow
    if not sheet.is_ambient:
        log_prob, distance = map(np.asarray, sheet.log_prob_and_distance(x, theta))
        gap = log_prob - test["log_prob"]
        others = np.asarray(strange.simulate(key, jnp.zeros((len(x), *strange.prior.shape))))
        other, far = map(np.asarray, sheet.log_prob_and_distance(others, theta))
        row |= {
            "reconstruction": _per_pixel(distance, x) / unit,
            "gap": float(np.abs(gap).mean()),
            "gap_mean": float(gap.mean()),
            "auc": metrics.outlier_auc(distance, far)["outlier_auc"],
            "auc_log_prob": metrics.outlier_auc(-log_prob, -other)["outlier_auc"],
        }
    flow.log_prob(x, theta)  # compiled
    started = time.perf_counter()
    density = np.asarray(flow.log_prob(x, theta))
    row["seconds"] = (time.perf_counter() - started) * 1000 / len(x)
    covered = metrics.coverage(np.asarray(flow.log_prob(samples, theta)), density)
    row |= {name: covered[name] for name in ("coverage_90", "coverage_error")}
    row["off"] = _per_pixel(np.asarray(truth.distance(samples[:FEW])), x) / unit
    reference = np.asarray(
        truth.simulate(jr.fold_in(key, 1), jnp.zeros((len(x), *truth.prior.shape)))
    )
    row |= _by_features(samples, reference)
    return row | (_posteriors(flow, truth, key) if truth.prior.shape[0] else {})


def _per_pixel(distance: np.ndarray, x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(distance)) / x[0].size))


def _by_features(samples: np.ndarray, reference: np.ndarray) -> Row:
    """Frechet and kernel distance, by principal components of the reference's pixels."""
    flat = reference.reshape(len(reference), -1)
    axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:COMPONENTS]
    both = [each.reshape(len(each), -1) @ axes.T for each in (samples, reference)]
    return {
        "features": f"{len(axes)} principal components",
        "frechet": metrics.frechet_distance(*both)["frechet_distance"],
        "kernel": metrics.kernel_distance(*both)["kernel_distance"],
    }


def _posteriors(flow: Flow, truth: Immersion, key) -> Row:
    """Log posterior density of the true theta, by the model and by the truth."""
    bounds = support(truth.prior)
    low, high = (np.asarray(bounds.transform(jnp.full(1, end))) for end in (-jnp.inf, jnp.inf))
    reach = np.where(np.isfinite(high), high, 3.0)
    grid = np.linspace(np.where(np.isfinite(low), low, -3.0), reach, GRID)
    step = float((grid[1] - grid[0]).item())
    prior = np.asarray(truth.prior.log_prob(grid))
    found: dict[str, list[float]] = {"log_posterior": [], "true_log_posterior": []}
    for i, place in enumerate((-0.5, 0.0, 0.5)):
        theta = np.full((SETS, IMAGES, 1), place * float(reach[0]))
        z = truth.latents(jr.fold_in(key, 10 + i), theta)
        x = np.asarray(truth.embed(z))
        exact = np.asarray(
            jnp.vectorize(truth.latent_log_prob, signature="(n),(k)->()")(
                z[:, :, None], jnp.asarray(grid)
            )
        ).sum(1)
        for j in range(SETS):
            model = np.asarray(_on_grid(log_likelihood(flow, x[j]), jnp.asarray(grid)))
            for name, values in zip(found, (model, exact[j]), strict=True):
                log_density = values.astype(np.float64) - values.max() + prior
                log_density -= logsumexp(log_density) + np.log(step)
                found[name].append(float(np.interp(theta[0, 0, 0], grid[:, 0], log_density)))
    return {name: float(np.mean(values)) for name, values in found.items()}


@eqx.filter_jit
def _on_grid(likelihood: LogLikelihood, grid: Array) -> Array:
    return jax.vmap(likelihood)(grid)


def _draw(out: Path, rows: list[Row], axes: Sequence[str]) -> None:
    """Draw images of the truth, their projections and samples of every system of the first seed."""
    rows = [row for row in rows if row["seed"] == 0]
    for labels in dict.fromkeys(tuple(row[name] for name in axes) for row in rows):
        name = "-".join(labels) or "samples"
        with np.load(out / f"{'-'.join(['test', *labels, '0'])}.npz") as known:
            test = known["x"][:8]
        shown = {"truth": test}
        for row in rows:
            if tuple(row[each] for each in axes) != labels:
                continue
            flow = runs.open_run(folder(out, row["model"], *labels, 0)).flow
            theta = None if flow.cond_shape is None else jnp.zeros((len(test), *flow.cond_shape))
            if not flow.is_ambient:
                shown[f"{row['model']}, projected"] = np.asarray(flow.project(test, theta))
            size = () if theta is not None else (len(test),)
            shown[row["model"]] = np.asarray(flow.sample(jr.key(0), size, theta))
        draw_images(out / f"{name}.png", shown)
    Console().print(f"Figures: *.png in {out}")


def draw_images(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Rows of images, each with its name."""
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(1.6 + columns, len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for panel in panels.ravel():
        panel.axis("off")
    for (name, images), line in zip(rows.items(), panels, strict=True):
        for image, panel in zip(images, line, strict=False):
            panel.imshow(np.clip(image, 0, 1))
        line[0].text(-0.1, 0.5, name, transform=line[0].transAxes, ha="right", va="center")
    figure.savefig(path, dpi=100)
