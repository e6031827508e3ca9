r"""What experiments on images of a known density measure: ``arm``, ``gan2d`` and ``gan64d``.

10,000 images to train on, at theta from the prior where there is one, and 1,000 to test on, at
theta = 0. Every system trains for as many minutes (``--budget``), compiling not counted. The
coordinates z of test images are known, and so is their exact log-density.

* reconstruction: root mean square of test images less their projections, per pixel, in units of
  the pixels' standard deviation (that of all pixels and images about the mean image);
* gap: mean over test images of |log p_model - log p_true|, in nats; ``gap_mean`` is that of the
  difference (of 200 images where the manifold has more than 8 dimensions). Of systems whose density
  is on a manifold; of PIE that on its sheet;
* coverage_90: share of test images within the region of highest density of mass 90% of the
  model's own samples; ``coverage_error`` is the largest error over all masses;
* off: root mean square distance of some samples to the true manifold, per pixel, in the same units;
* frechet, kernel: distances of samples and other images of the truth, as many of both, by the
  features that the row names: principal components of pixels, or those of EfficientNet-lite0;
* AUC: images of another manifold against test images, by distance d to the model's manifold, and
  ``auc_log_prob`` by -log p; ``auc_both`` by d^2 / 2 v - log p, with v = mean d^2 / (D - n) of
  images to train on;
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
from mflows.nets import efficientnet_lite0, image_features
from mflows.simulators.immersion import Immersion

TRAIN, TEST = 10_000, 1_000
EASY = 8  # dimensions up to which the true density is asked for of all test images
SETS, IMAGES, GRID = 5, 20, 41
COMPONENTS, SHOWN = 64, 8
SETTINGS: dict[str, dict[str, Any]] = {
    "af": {"layers": 6, "blocks": 2},
    "pie": {"chart_layers": 6, "blocks": 2},
}
"""Of systems by name: as many layers as the M-flow has. Others have those of the library."""
SYSTEMS = ("af", "pie", "pae", "m-flow", "me-flow")
Make = Callable[[Mapping[str, str], bool], Immersion]


def experiment(
    title: str,
    make: Make,
    strange: Make,
    axes: Mapping[str, Sequence[str]],
    quick: Mapping[str, Sequence[str]],
    *,
    searched: int = 200,
    pretrained: bool = False,
) -> Experiment:
    """An experiment on the images of a simulator.

    Args:
        title: Heading of the table.
        make: From the labels of a row, and whether it is the short version, to the simulator.
        strange: The same for the images of another manifold.
        axes: As for ``Experiment``.
        quick: As for ``Experiment``.
        searched: Samples of which the nearest image of the truth is looked for.
        pretrained: Whether Frechet distances are by the features of a pretrained network.
    """
    return Experiment(
        title=title,
        measure=partial(
            _measure, make=make, strange=strange, searched=searched, pretrained=pretrained
        ),
        axes=axes,
        quick=quick,
        free=[name for name in axes if name != "model"],
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
    )


def _measure(job: Job, make: Make, strange: Make, *, searched: int, pretrained: bool) -> Row:
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
    with np.load(train) as known, np.load(test) as others:
        x, tested = known["x"], dict(others)
    row = _numbers(run.flow, truth, x, tested, strange(job.labels, job.quick), job)
    samples, reference = row.pop("samples"), row.pop("reference")
    few = samples[: searched // 10 if job.quick else searched]
    row["off"] = _per_pixel(np.asarray(truth.distance(few)), tested["x"]) / spread(tested["x"])
    row |= by_features(samples, reference, pretrained=pretrained and not job.quick)
    return {
        **account(run),
        "device": jax.devices()[0].device_kind,
        "epochs": len(run.history),
        **row,
    }


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
        density = np.full(count, np.nan)  # of those it is not asked of
        few = slice(count if truth.latent_dim <= EASY else count // 5)
        density[few] = truth.log_prob_of(z[few], theta[few])
        more |= {"z": z, "log_prob": density}
    save_array(path, np.asarray(x, np.float32), more={k: np.asarray(v) for k, v in more.items()})


def _numbers(
    flow: Flow,
    truth: Immersion,
    train: np.ndarray,
    test: Mapping[str, np.ndarray],
    strange: Immersion,
    job: Job,
) -> Row:
    x = test["x"]
    theta = None if flow.cond_shape is None else jnp.zeros((len(x), *flow.cond_shape))
    key = jr.fold_in(jr.key(job.seed), 2)
    others = np.asarray(strange.simulate(key, jnp.zeros((len(x), *strange.prior.shape))))
    row, log_prob = by_images(flow, train, x, others, theta)
    if log_prob is not None:
        gap = log_prob - test["log_prob"]
        row |= {"gap": float(np.nanmean(np.abs(gap))), "gap_mean": float(np.nanmean(gap))}
    samples = np.asarray(flow.sample(key, () if theta is not None else (len(x),), theta))
    density = flow.log_prob(x, theta)
    covered = metrics.coverage(np.asarray(flow.log_prob(samples, theta)), np.asarray(density))
    row |= {name: covered[name] for name in ("coverage_90", "coverage_error")}
    reference = truth.simulate(jr.fold_in(key, 1), jnp.zeros((len(x), *truth.prior.shape)))
    row |= _posteriors(flow, truth, key) if truth.prior.shape[0] else {}
    return row | {"samples": samples, "reference": np.asarray(reference)}


def by_images(
    flow: Flow, train: np.ndarray, x: np.ndarray, others: np.ndarray, theta: Array | None = None
) -> tuple[Row, np.ndarray | None]:
    """What other images tell: reconstruction, AUC and the time of a likelihood.

    Args:
        flow: The model.
        train: Images it was trained on.
        x: Images to test on.
        others: Outliers, as many.
        theta: Of all test images and outliers.

    Returns:
        The numbers, and log p of the test images on the model's sheet, if it has one.
    """
    row: Row = {}
    flow.log_prob(x, theta)  # compiled
    started = time.perf_counter()
    np.asarray(flow.log_prob(x, theta))
    row["seconds"] = (time.perf_counter() - started) * 1000 / len(x)
    sheet = models.on_manifold(flow) if isinstance(flow.latent, Thickened) else flow
    if sheet.is_ambient:
        scores = {"auc_log_prob": [-np.asarray(flow.log_prob(part, theta)) for part in (x, others)]}
        return row | _aucs(scores), None
    found = [sheet.log_prob_and_distance(part, theta) for part in (x, others)]
    log_prob = [np.asarray(each.log_prob) for each in found]
    distance = [np.asarray(each.distance) for each in found]
    known = train[: len(x)]
    variance = np.square(np.asarray(sheet.distance(known, theta))).mean()
    variance /= sheet.dim - sheet.latent_dim
    scores = {
        "auc": distance,
        "auc_log_prob": [-each for each in log_prob],
        "auc_both": [
            metrics.outlier_score(p, d, variance) for p, d in zip(log_prob, distance, strict=True)
        ],
    }
    return row | {"reconstruction": _per_pixel(distance[0], x) / spread(x)} | _aucs(
        scores
    ), log_prob[0]


def _aucs(scores: Mapping[str, Sequence[np.ndarray]]) -> Row:
    return {name: metrics.outlier_auc(*both)["outlier_auc"] for name, both in scores.items()}


def spread(x: np.ndarray) -> float:
    """Standard deviation of all pixels of all images about the mean image."""
    return float(np.sqrt(np.var(x, axis=0).mean()))


def _per_pixel(distance: np.ndarray, x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(distance)) / x[0].size))


def by_features(samples: np.ndarray, reference: np.ndarray, *, pretrained: bool) -> Row:
    """Frechet and kernel distance of as many images.

    By EfficientNet-lite0 if ``pretrained``, else by principal components of the reference's pixels.
    """
    if pretrained:
        network = efficientnet_lite0()
        both = [image_features(each.clip(0, 1), network) for each in (samples, reference)]
        features = "EfficientNet-lite0"
    else:
        flat = reference.reshape(len(reference), -1)
        axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:COMPONENTS]
        both = [each.reshape(len(each), -1) @ axes.T for each in (samples, reference)]
        features = f"{len(axes)} principal components"
    return {
        "features": features,
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
        with np.load(out / f"{'-'.join(['test', *labels, '0'])}.npz") as known:
            test = known["x"]
        runs_of = {
            row["model"]: folder(out, row["model"], *labels, 0)
            for row in rows
            if tuple(row[each] for each in axes) == labels
        }
        draw_systems(out / f"{'-'.join(labels) or 'samples'}.png", test, runs_of)
    Console().print(f"Figures: *.png in {out}")


def draw_systems(path: Path, test: np.ndarray, runs_of: Mapping[str, Path]) -> None:
    """Draw test images, and of every system's run their projections and samples.

    Args:
        path: File to write.
        test: Images.
        runs_of: System -> folder of its run.
    """
    test = test[:SHOWN]
    shown = {"truth": test}
    for name, where in runs_of.items():
        flow = runs.open_run(where).flow
        theta = None if flow.cond_shape is None else jnp.zeros((len(test), *flow.cond_shape))
        if not flow.is_ambient:
            shown[f"{name}, projected"] = np.asarray(flow.project(test, theta))
        size = () if theta is not None else (len(test),)
        shown[name] = np.asarray(flow.sample(jr.key(0), size, theta))
    draw_images(path, shown)


def draw_images(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Rows of images, each with its name."""
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(1.6 + columns, len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for panel in panels.ravel():
        panel.axis("off")
    for (name, images), line in zip(rows.items(), panels, strict=True):
        for image, panel in zip(images, line, strict=False):
            panel.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1)
        line[0].text(-0.1, 0.5, name, transform=line[0].transAxes, ha="right", va="center")
    figure.savefig(path, dpi=100)
