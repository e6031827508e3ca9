r"""Why an M-flow is not trained by maximum likelihood alone: its manifold leaves the data.

    mflows experiment ill-posed-likelihood --seeds 3

Angles phi ~ N(pi/2, (pi/4)^2) on the unit circle, 10,000 points in the plane, n = 1. The density of
a point is that of its projection, so that a manifold can win by moving the projections together.
Circles of radius r show it (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 3.1, with lines): with
the radial projection and the best density of the angle each has

    -mean log p = h + log r,      reconstruction error |1 - r|

with h the entropy of the data. Every r < 1 beats the truth, r -> 0 without bound.

An M-flow is trained by the likelihood of chart and density alone, and by sequential M/D training,
for as many epochs. Expected on every seed: the first projects all data to one place far from them,
with -log p below -15 nats and falling; the second has a mean reconstruction error below .002 and
-log p within .05 nats of the truth, 1.18. Written are ``results.json``, with both numbers after
every epoch, and ``figure.png``.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from mflows.experiments.driver import Experiment, Job, Row
from mflows.flow import Flow
from mflows.models import m_flow
from mflows.runs import commit
from mflows.simulators import GaussianCircle
from mflows.training import Batch, Phase, density_phase, manifold_phase, recipes
from mflows.training.epoch import begin
from mflows.training.rows import Rows

POINTS, TEST, EPOCHS = 10_000, 2_000, 24
CIRCLE = GaussianCircle()
RADII = np.geomspace(0.05, 1.5, 60)
_TEST_SEED = 1_000_003
COLOURS = ("#0b6e99", "#c0392b")


def _manifold_then_density(epochs: int) -> list[Phase]:
    """Without unrolling: the circle is closed but for the few points that are far in the tails."""
    return [manifold_phase(epochs // 2), density_phase(epochs - epochs // 2)]


WAYS = {
    "manifold, then density": _manifold_then_density,
    "likelihood alone": recipes.maximum_likelihood,
}


def measure(job: Job) -> Row:
    """Train one way, and measure after every epoch."""
    data_key, model_key, train_key = jr.split(jr.key(job.seed), 3)
    x = _circle(data_key, 500 if job.quick else POINTS)
    test = _circle(jr.key(_TEST_SEED), TEST)
    size = {"chart_layers": 2, "latent_layers": 1, "width": 8, "affine": True} if job.quick else {}
    start = m_flow(model_key, shape=(2,), latent_dim=1, **size)
    phases = WAYS[job.labels["training"]](2 if job.quick else EPOCHS)
    history, status = [], "finished"
    curve = np.zeros((0, 2))
    for flow in _epochs(train_key, start, Batch(x, None), phases):
        log_prob, distance = (np.asarray(a) for a in flow.log_prob_and_distance(test))
        row = {"nll": float(-log_prob.mean()), "reconstruction": float(distance.mean())}
        row["largest"] = float(distance.max())
        if not all(map(math.isfinite, row.values())):
            status = "diverged"
            break
        history.append(row)
        u = np.asarray(flow.encode(test))
        curve = np.asarray(flow.decode(np.linspace(u.min(0), u.max(0), 400)))
    last = history[-1] if history else dict.fromkeys(("nll", "reconstruction", "largest"), math.nan)
    named = {"status": status, "commit": commit()}
    return {**named, **last, "history": history, "curve": curve.tolist()}


def _circle(key, count: int) -> jax.Array:
    """Points of the circle, shape (count, 2)."""
    return CIRCLE.simulate(key, jnp.zeros((count, 0)))


def _epochs(key, flow: Flow, batch: Batch, phases: list[Phase]):
    """Yield the flow, as it is, after every epoch of every phase."""
    for number, phase in enumerate(phases):
        phase_key = jr.fold_in(key, number)
        if phase.start is not None:
            flow = phase.start(phase_key, flow, batch)
        prepare = getattr(phase.objective, "prepare", None)
        rows = Rows(batch if prepare is None else prepare(flow, batch))
        loop, state = begin(phase_key, flow, phase, rows)
        for epoch in range(phase.epochs):
            state, _ = loop.epoch(state, epoch)
            flow = loop.flow(state.parameters)
            yield flow


def finish(out: Path, rows: list[Row]) -> None:
    """Write ``figure.png``."""
    test = _circle(jr.key(_TEST_SEED), TEST)
    entropy = -float(CIRCLE.log_prob(test).mean())
    trained: dict[str, list[Training]] = {way: [] for way in WAYS}
    for row in rows:
        training = Training(
            np.array(row["curve"]).reshape(-1, 2),
            [epoch["nll"] for epoch in row["history"]],
            [epoch["reconstruction"] for epoch in row["history"]],
        )
        trained[row["training"]].append(training)
    draw(
        out / "figure.png",
        x=np.asarray(test),
        family={float(r): (entropy + math.log(r), abs(1 - r)) for r in RADII},
        trained=trained,
        truth=entropy,
    )
    Console().print(f"True -log p: {entropy:.3f}. Figure: {out / 'figure.png'}")


class Training(NamedTuple):
    """How one training went.

    Args:
        curve: Points along the learned curve, shape (K, 2), over the coordinates of the data; it
            is drawn with a dot at its first, without which a collapsed curve would not be seen.
        nll: Mean negative log-likelihood after every epoch, nats.
        error: Mean reconstruction error after every epoch.
    """

    curve: np.ndarray
    nll: Sequence[float]
    error: Sequence[float]


def draw(
    path: Path,
    *,
    x: np.ndarray,
    family: Mapping[float, tuple[float, float]],
    trained: Mapping[str, Sequence[Training]],
    truth: float,
) -> None:
    """Write the figure, in the format of the file's suffix.

    Args:
        path: File to write.
        x: Data, shape (N, 2).
        family: Radius of a circle -> its negative log-likelihood and its reconstruction error.
        trained: Name of a way to train -> its trainings, one for each seed.
        truth: Negative log-likelihood of the true density.
    """
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    known, learned, likelihood, error = figure.subplots(1, 4)
    radii = np.array(list(family))
    values, errors = np.array(list(family.values())).T
    known.plot(radii, values, color=COLOURS[1], label="-log p (nats)")
    known.plot(radii, errors, color=COLOURS[0], label="reconstruction error")
    known.axvline(1, color="0.6", linestyle=":")
    known.set(xlabel="radius of the circle", title="A family of manifolds")
    known.legend(frameon=False)
    learned.plot(*x.T, ".", color="0.75", markersize=2, zorder=0)
    for colour, (name, trainings) in zip(COLOURS, trained.items(), strict=False):
        for number, training in enumerate(trainings):
            label = name if number == 0 else None
            learned.plot(*training.curve.T, color=colour, linewidth=1, label=label)
            learned.plot(*training.curve[:1].T, "o", color=colour, markersize=3)
            likelihood.plot(1 + np.arange(len(training.nll)), training.nll, color=colour)
            error.plot(1 + np.arange(len(training.error)), training.error, color=colour)
    learned.set(title="Where the data are projected to")
    learned.set_aspect("equal", adjustable="datalim")
    learned.legend(frameon=False, loc="upper left")
    likelihood.axhline(truth, color="0.6", linestyle=":")
    likelihood.set(xlabel="epoch", title="-log p of test points (nats)")
    error.set(xlabel="epoch", title="Reconstruction error", yscale="log")
    figure.savefig(path)


EXPERIMENT = Experiment(
    title="Circle, by likelihood alone and properly",
    measure=measure,
    system="m-flow",
    axes={"training": tuple(WAYS)},
    seeds=3,
    columns={"nll": "-log p", "reconstruction": "reconstruction", "largest": "largest"},
    finish=finish,
)
