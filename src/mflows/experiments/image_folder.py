r"""Real pictures: shipped ones, fetched ones, or a folder of your own.

    mflows experiment image-folder --seeds 3 --jobs 2 --budget 30
    mflows experiment image-folder --only pictures=photographs/ --only n=2,8,32

Up to 10,000 pictures are trained on, with their 8-bit levels dequantised, and up to 1,000 others
are tested. Those of a folder are cropped and resized to 32 x 32. Outliers are

* of ``fashion-mnist`` the digits of ``mnist-5k``, and the other way round;
* of ``digits`` the class that has the number of the seed, which is not trained on;
* of a folder, images of an arm of two joints.

What is measured stands in ``mflows.experiments.image_manifolds``; Frechet distances are of samples
and test pictures. Principal components, as many as the manifold has dimensions, are fitted to the
same pictures: ``pca_reconstruction`` is in the same units, and ``pca_auc`` is the AUC of their
error. More than one n gives a figure of the reconstruction against n.
"""

from functools import lru_cache
from pathlib import Path

import jax
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from mflows.data import DataError, from_levels, load, pictures, save_array, to_levels
from mflows.experiments.budget import epochs_of_run
from mflows.experiments.driver import Experiment, Job, Row, account, folder
from mflows.experiments.image_manifolds import (
    SETTINGS,
    SYSTEMS,
    by_features,
    by_images,
    draw_systems,
    spread,
)
from mflows.metrics import outlier_auc
from mflows.simulators import Arm

TRAIN, TEST, HELD_OUT = 10_000, 1_000, 0.1
SIZE, FEWEST = 32, 20
OTHERS = {"fashion-mnist": "mnist-5k", "mnist-5k": "fashion-mnist"}


def measure(job: Job) -> Row:
    """Train a system on some pictures for its budget, and measure."""
    name = job.labels["pictures"]
    train, test, others = (
        job.file(
            f"{part}-{Path(name).name}-{job.seed}.npz",
            lambda path, part=part: save_array(path, _levels(name, job.seed, job.quick)[part]),
        )
        for part in ("train", "test", "others")
    )
    model, where = job.labels["model"], _folder(job.out, {**job.labels, "seed": job.seed})
    asked = {
        "latent_dim": int(job.labels["n"]),
        "settings": SETTINGS.get(model, {}),
        "dequantise": True,
    }
    epochs = epochs_of_run(job, where, train, model, **asked)
    run = job.train(where, train, model, epochs=epochs, **asked)
    known, x, strange = (_points(path) for path in (train, test, others))
    row, _ = by_images(run.flow, known, x, strange)
    samples = np.asarray(run.flow.sample(jr.fold_in(jr.key(job.seed), 2), (len(x),)))
    row |= by_features(samples, x, pretrained=not job.quick)
    row |= _components(int(job.labels["n"]), known, x, strange)
    return {
        **account(run),
        "device": jax.devices()[0].device_kind,
        "epochs": len(run.history),
        **row,
    }


def _folder(out: Path, row: Row) -> Path:
    return folder(out, row["model"], Path(row["pictures"]).name, row["n"], row["seed"])


def _points(path: Path) -> np.ndarray:
    with np.load(path) as known:
        return from_levels(known["x"])


@lru_cache(maxsize=1)  # of three files
def _levels(name: str, seed: int, quick: bool) -> dict[str, np.ndarray]:
    """Pictures to train on, to test on, and outliers, as 8-bit levels."""
    rng = np.random.default_rng(seed)
    if name in OTHERS:
        x, others = pictures(name).x, pictures(OTHERS[name]).x
    elif name == "digits":
        known = pictures(name)
        left_out = known.label == seed % 10
        x, others = known.x[~left_out], known.x[left_out]
    else:
        x = to_levels(np.asarray(load(name, size=SIZE).x))
        arm = Arm(2, SIZE)
        images = np.asarray(arm.simulate(jr.key(seed), np.zeros((TEST, 1))))
        others = to_levels(images if x.shape[-1] == 3 else images.mean(-1, keepdims=True))
    if len(x) < FEWEST:
        raise DataError(f"Expected at least {FEWEST} pictures in {name}; got {len(x)}.")
    x, others = rng.permutation(x), rng.permutation(others)
    tested = min(TEST, round(HELD_OUT * len(x)))
    train, tested = (60, 20) if quick else (TRAIN, tested)
    return {"train": x[tested:][:train], "test": x[:tested], "others": others[:tested]}


def _components(n: int, train: np.ndarray, x: np.ndarray, others: np.ndarray) -> Row:
    """What principal components do with the same pictures."""
    rows = [each.reshape(len(each), -1) for each in (train, x, others)]
    pca = PCA(min(n, *rows[0].shape), random_state=0).fit(rows[0])
    errors = [
        np.sqrt(np.mean((part - pca.inverse_transform(pca.transform(part))) ** 2, axis=1))
        for part in rows[1:]
    ]
    return {
        "pca_reconstruction": float(np.sqrt(np.mean(errors[0] ** 2))) / spread(x),
        "pca_auc": outlier_auc(*errors)["outlier_auc"],
    }


def finish(out: Path, rows: list[Row]) -> None:
    """Draw the pictures of every system, and the reconstruction against n."""
    for name in dict.fromkeys(row["pictures"] for row in rows):
        own = [row for row in rows if row["pictures"] == name]
        title = Path(name).name
        for n in dict.fromkeys(row["n"] for row in own):
            first = [row for row in own if row["n"] == n and row["seed"] == 0]
            runs_of = {row["model"]: _folder(out, row) for row in first}
            draw_systems(out / f"{title}-{n}.png", _points(out / f"test-{title}-0.npz"), runs_of)
        if len({row["n"] for row in own}) > 1:
            _draw_dimensions(out / f"{title}-reconstruction.png", own)


def _draw_dimensions(path: Path, rows: list[Row]) -> None:
    figure = Figure(figsize=(5, 4), layout="constrained")
    panel = figure.subplots()
    known = [row for row in rows if "reconstruction" in row]
    for model in dict.fromkeys(row["model"] for row in known):
        points = sorted((int(r["n"]), r["reconstruction"]) for r in known if r["model"] == model)
        panel.plot(*zip(*points, strict=True), "o-", label=model)
    components = sorted({(int(row["n"]), row["pca_reconstruction"]) for row in known})
    panel.plot(*zip(*components, strict=True), "o--", color="gray", label="principal components")
    panel.set(xlabel="n", ylabel="reconstruction, standard deviations of a pixel", xscale="log")
    panel.legend()
    figure.savefig(path, dpi=100)


EXPERIMENT = Experiment(
    title="Real pictures: reconstruction, samples and outliers",
    measure=measure,
    axes={"model": SYSTEMS, "pictures": ("fashion-mnist", "mnist-5k", "digits"), "n": ("32",)},
    quick={"model": ("pae",), "pictures": ("digits",), "n": ("2",)},
    free=("pictures", "n"),
    columns={
        "reconstruction": "reconstr.",
        "pca_reconstruction": "PCA",
        "frechet": "Frechet",
        "auc": "AUC",
        "auc_log_prob": "log p",
        "auc_both": "both",
        "pca_auc": "PCA AUC",
        "seconds": "s of 1,000",
        "cpu_seconds": "CPU s",
    },
    budget=30.0,
    finish=finish,
)
