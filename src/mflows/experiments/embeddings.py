r"""Frozen embeddings of pictures: are strange ones told, beside the usual detectors?

    mflows experiment embeddings --seeds 3

1,280 features of EfficientNet-lite0 of pictures at 128 x 128 (``mflows.nets.kept_features``), of

* ``fashion-mnist``, 5,000 pictures to train on; outliers are those of mnist-5k;
* ``mnist-5k``, 4,000 to train on; outliers are those of fashion-mnist;
* ``fashion-mnist-class``, without the class s in seed s, which is the outliers.

1,000 other inliers and at most 1,000 outliers are told apart, by the area under the ROC curve.
Flows train as ``mflows fit -d 32`` does. Their score treats deviations from the manifold as
isotropic noise of variance v = mean d^2 / (D - n), measured on the training rows:

    score(x) = -log p(x) + d(x)^2 / 2 v

``auc_distance`` and ``auc_log_prob`` are those of d and -log p, the two columns that ``mflows
score`` writes; ``auc_scaled`` is that of the distance in standard deviations of the features.
Beside them, none of which sees an outlier before:

* ``pca-32``: reconstruction error of 32 principal components of standardised features; ``pca``: of
  as many as hold 95% of the variance;
* ``knn``: distance to the fifth neighbour in training rows, standardised; ``knn-raw``: as they are;
* ``mahalanobis``: with the covariance shrunk as by Ledoit & Wolf (2004);
* ``isolation-forest``: scikit-learn's, with its defaults.

reconstruction is the root mean square of inliers less their projections, in units of the standard
deviations of features. CPU seconds are those of training, and for others of scoring too. AUC of
seed 0 (docs/results/embeddings.md): M-flow .843, .999, .813; Mahalanobis .890, 1.000, .773.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from mflows.data import from_levels, pictures, save_array
from mflows.experiments.driver import Experiment, Job, Row, account, folder
from mflows.metrics import outlier_auc, outlier_score
from mflows.nets import kept_features
from mflows.training.recipes.phases import TOLERANCE

LATENT_DIM = 32
PICTURES, TEST = 6000, 1000
SIZE = 128
NEIGHBOURS = 5
HELD = 0.95

Score = Callable[[np.ndarray], np.ndarray]
"""Scores of rows, larger for outliers."""


class Split(NamedTuple):
    """Rows of features."""

    train: np.ndarray
    inliers: np.ndarray
    outliers: np.ndarray


class Embedded(NamedTuple):
    """Features of pictures, and what these show."""

    x: np.ndarray
    label: np.ndarray


@lru_cache
def embedded(name: str) -> Embedded:
    """Features of the first pictures of a collection; pixels of digits, for the short version."""
    x, label = pictures(name)
    x, label = from_levels(x[:PICTURES]), label[:PICTURES]
    return Embedded(
        x.reshape(len(x), -1) if name == "digits" else kept_features(x, size=SIZE), label
    )


def split(name: str, seed: int) -> Split:
    """Rows to train on, others, and outliers."""
    inside = embedded(name.removesuffix("-class"))
    rng = np.random.default_rng(seed)
    if name.endswith("-class"):
        own, strange = (inside.x[mask] for mask in (inside.label != seed, inside.label == seed))
    else:
        own, strange = inside.x, embedded(OTHERS[name]).x
    own, strange = (rows[rng.permutation(len(rows))] for rows in (own, strange))
    test = min(TEST, len(own) // 5)
    return Split(own[test:], own[:test], strange[:test])


OTHERS = {"fashion-mnist": "mnist-5k", "mnist-5k": "fashion-mnist"}


def measure(job: Job) -> Row:
    """Train a detector, and tell outliers from inliers."""
    model = job.labels["model"]
    parts = split(job.labels["pictures"], job.seed)
    if model not in DETECTORS:
        return _of_flow(job, model, parts)
    wall, cpu = time.perf_counter(), time.process_time()
    score = DETECTORS[model](parts.train, job.seed)
    inliers, outliers = score(parts.inliers), score(parts.outliers)
    row: Row = {
        "auc": outlier_auc(inliers, outliers)["outlier_auc"],
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "status": "finished",
    }
    if model.startswith("pca"):
        row["reconstruction"] = _root_mean_square(inliers / np.sqrt(parts.train.shape[1]))
    return row


def _of_flow(job: Job, model: str, parts: Split) -> Row:
    varies = np.ptp(parts.train, axis=0) > 0
    train, inliers, outliers = (part[:, varies] for part in parts)
    name = job.labels["pictures"]
    run = job.train(
        folder(job.out, model, name, job.seed),
        job.file(f"{name}-{job.seed}.npy", lambda path: save_array(path, train)),
        model,
        latent_dim=LATENT_DIM,
        recipe_settings={"tolerance": TOLERANCE},  # as where no number of epochs is asked for
    )
    scale = train.std(axis=0)
    off = [rows - np.asarray(run.flow.project(rows)) for rows in (train, inliers, outliers)]
    distance = [np.linalg.norm(each, axis=1) for each in off]
    variance = np.mean(np.square(distance[0])) / (train.shape[1] - LATENT_DIM)
    log_prob = [np.asarray(run.flow.log_prob(rows)) for rows in (inliers, outliers)]
    scores = {
        "auc": [outlier_score(p, d, variance) for p, d in zip(log_prob, distance[1:], strict=True)],
        "auc_distance": distance[1:],
        "auc_scaled": [np.linalg.norm(each / scale, axis=1) for each in off[1:]],
        "auc_log_prob": [-p for p in log_prob],
    }
    return {
        **{name: outlier_auc(*both)["outlier_auc"] for name, both in scores.items()},
        "reconstruction": _root_mean_square(off[1] / scale),
        "epochs": len(run.history),
        **account(run),
    }


def _root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def _principal(train: np.ndarray, components: float) -> Score:
    """Reconstruction error; of a number of components, or of those that hold a part."""
    scaler = StandardScaler().fit(train)
    pca = PCA(components, svd_solver="full").fit(scaler.transform(train))

    def score(x: np.ndarray) -> np.ndarray:
        z = scaler.transform(x)
        return np.linalg.norm(z - pca.inverse_transform(pca.transform(z)), axis=1)

    return score


def _neighbour(train: np.ndarray, scaler: StandardScaler) -> Score:
    """Distance to a near neighbour."""
    search = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(scaler.fit_transform(train))
    return lambda x: search.kneighbors(scaler.transform(x))[0][:, -1]


def _mahalanobis(train: np.ndarray) -> Score:
    scaler = StandardScaler().fit(train)
    covariance = LedoitWolf().fit(scaler.transform(train))
    return lambda x: covariance.mahalanobis(scaler.transform(x))


def _isolation_forest(train: np.ndarray, seed: int) -> Score:
    forest = IsolationForest(random_state=seed).fit(train)
    return lambda x: -forest.score_samples(x)


DETECTORS: dict[str, Callable[[np.ndarray, int], Score]] = {
    "pca-32": lambda train, seed: _principal(train, LATENT_DIM),
    "pca": lambda train, seed: _principal(train, HELD),
    "knn": lambda train, seed: _neighbour(train, StandardScaler()),
    "knn-raw": lambda train, seed: _neighbour(
        train, StandardScaler(with_mean=False, with_std=False)
    ),
    "mahalanobis": lambda train, seed: _mahalanobis(train),
    "isolation-forest": _isolation_forest,
}

EXPERIMENT = Experiment(
    title="Embeddings of pictures: AUC of outliers",
    measure=measure,
    axes={
        "model": ("m-flow", "me-flow", *DETECTORS),
        "pictures": (*OTHERS, "fashion-mnist-class"),
    },
    quick={"pictures": ("digits-class",)},
    columns={
        "auc": "AUC",
        "auc_distance": "of distance",
        "auc_scaled": "scaled",
        "auc_log_prob": "of -log p",
        "reconstruction": "reconstr.",
        "cpu_seconds": "CPU s",
        "wall_seconds": "wall s",
    },
)
