r"""Particle physics: 40 features on a 14-dimensional manifold, and inference of two couplings.

    mflows experiment particle-physics --seeds 3 --jobs 2 --budget 30

pp -> h j j, h -> gamma gamma at 13 TeV (``mflows simulate wbf-higgs``, docs/particle_physics.md) at
theta = (c_W, c_HWtilde), uniform on [-5, 5]^2. A pool of 500,000 Standard Model events, four fifths
of it to train on and a fifth to test on, stands for all theta by weights. This is the experiment of
Brehmer & Cranmer 2020 (arXiv 2003.13913, sec. 5.5) with another generator, so that its numbers can
be compared with each other, with the published ones only roughly.

Every system trains for as many minutes (``--budget``), compiling not counted, on the same events;
where there is a GPU, with the published networks. The systems learn from points, those of recipes
named ``scandal`` from the simulator's joint score, too. ``alices`` is a classifier that estimates
density ratios from joint ratios and scores (Stoye et al. 2018, arXiv 1808.00973), the reference.
The weight of the joint score is 100 in place of the published 2 (``SCORE_WEIGHT``).
All flows have heavy tails (``tails=True``): transverse momenta reach 33 standard deviations, and
without tails a few events of large weight decide the validation loss, as they do of PIE even so.

* closure: the mean of the 26 identities of the features, broken by samples at theta = 0, each in
  units of the feature's standard deviation and at most 10;
* reconstruction: distance of test points at theta = 0 to their projections, in units of the
  features' standard deviations;
* log posterior: of the true theta, of 20 events, mean over five sets at each of three theta,
  (0, 0), (s/2, 0) and (-s, -s), with the prior's standard deviation s = 5/sqrt(3). It is a density
  of theta / s, to compare with the published prior N(0, 1)^2; the prior alone has -2.48. A model
  that always shrinks to 0 looks good by it;
* over prior: the same for 60 sets at theta from the prior, which only the truth makes largest;
* coverage: share of sets of which the region of highest density of mass 90% holds the true theta,
  drawn from the prior; of one event and of 20. Chance alone makes it vary by 2%, that of 20 by 4%;
* local: the lowest and highest coverage among thirds of events by pT of the harder jet, of a right
  posterior about .87 and .93;
* recalibrated: coverage of 20 events after the log-likelihood is multiplied by a factor; that which
  makes the true theta of one half of the sets most likely serves the other half. ``tempering`` is
  the factor of all sets;
* least_p: the least p-value of ranks, TARP (``tarp_p``) and coverage at all masses;
* information: of an event on c_W and c_HWtilde at theta = 0 that the model's score s has, by the
  joint score t: E[s t]^2 / E[s^2], at most that of the events, which is at most E[t^2], of the
  quarks; both are measured;
* seconds of 100,000 exact likelihoods, compiled before, from those of 10,000.
"""

import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from rich.console import Console

from mflows import runs, systems
from mflows.data import save_array
from mflows.experiments.budget import epochs_of_run
from mflows.experiments.driver import Experiment, Job, Row, account, folder
from mflows.experiments.jobs import generated
from mflows.experiments.particle_physics.alices import train_alices
from mflows.experiments.particle_physics.figures import (
    draw_constraints,
    draw_learning,
    draw_posteriors,
    draw_samples,
)
from mflows.experiments.particle_physics.measures import (
    QUICK_TEST,
    TEST,
    information,
    numbers,
)
from mflows.experiments.particle_physics.posteriors import (
    POSTERIORS,
    THETA,
    GridPosterior,
    posterior_numbers,
)
from mflows.files import write_atomically
from mflows.runs import commit
from mflows.simulators import WBFHiggs
from mflows.simulators.physics.features import NAMES
from mflows.simulators.physics.pool import Pool
from mflows.simulators.physics.wbf_higgs import SHIPPED

EVENTS, SEED = 500_000, 0
TRAIN = 0.8
"""Part of the pool; the rest is for tests."""
BATCH = 100
TRAINING: dict[str, Any] = {"condition": ("theta",), "weight": "weight", "batch_size": BATCH}
SCORE_WEIGHT = 100.0
"""Of the joint score in SCANDAL's loss. Its mean square is .12 in the units of that loss, so that
with the published weight, 2, it counts for a quarter of a nat, and little of it is learned."""
LATENT_DIM = 14
PUBLISHED_SETTINGS: dict[str, Any] = {
    "chart_layers": 20,
    "latent_layers": 15,
    "layers": 35,
    "linear": True,
    "bins": 11,
    "interval": 10.0,
    "width": 100,
    "blocks": 2,
    "affine": False,
}
"""Networks of Brehmer & Cranmer 2020, which take a GPU."""
SYSTEMS = ("af", "pie", "pie+conditional_chart", "pae", "m-flow", "me-flow")
WITH_SCORE = tuple(
    f"{name}:scandal" + "-likelihood" * (systems.parse(name).system.density == "in space")
    for name in SYSTEMS
)


def prepare(out: Path, quick: bool) -> None:
    """Write the pool of events, made on all cores or read from the cache."""
    path, count = _file(out, quick=quick)
    if not path.is_file():
        found = generated(WBFHiggs(), count, SEED)
        save_array(path, found.pop("x"), NAMES, more=found)
    console = Console()
    for name, pool in zip(("train", "test"), pools(out, quick=quick), strict=True):
        parts = ", ".join(f"{pool.effective(theta):.0%}" for theta in THETA)
        console.print(f"Events to {name} on: {len(pool):,}; effective at the three theta: {parts}")


def pools(out: Path, *, quick: bool) -> list[Pool]:
    """The events to train on, and those to test on."""
    return Pool.load(_file(out, quick=quick)[0]).split(TRAIN, 1 - TRAIN)


def _file(out: Path, *, quick: bool) -> tuple[Path, int]:
    """Where the events are, and how many."""
    count = SHIPPED if quick else EVENTS
    return out / f"events-{count}.npz", count


def measure(job: Job) -> Row:
    """Train a system for its budget, and measure."""
    model, seed = job.labels["model"], job.seed
    train, test = pools(job.out, quick=job.quick)
    device = {"device": jax.devices()[0].device_kind}
    if model == "alices":
        return device | _measure_alices(job, train, test)

    def simulate(path: Path) -> None:
        pairs = train.paired(jr.key(seed))
        more = {"theta": pairs.theta, "joint_score": pairs.joint_score, "weight": pairs.weight}
        save_array(path, pairs.x, NAMES, more=more)

    where, path = folder(job.out, model, seed), job.file(f"train-{seed}.npz", simulate)
    asked: dict[str, Any] = {
        "latent_dim": LATENT_DIM,
        "settings": settings_of(model),
        "recipe_settings": recipe_settings_of(model),
        **TRAINING,
    }
    epochs = epochs_of_run(job, where, path, model, **asked)
    run = job.train(where, path, model, epochs=epochs, **asked)
    return {
        **device,
        **account(run),
        "epochs": len(run.history),
        "train_minutes": sum(row["seconds"] for row in run.history) / 60,
        **numbers(run.flow, test, quick=job.quick),
        **posterior_numbers(run.flow, test, run.folder, quick=job.quick),
    }


def settings_of(model: str) -> dict[str, Any]:
    """Heavy tails; the published networks where there is a GPU, else those of the library."""
    chosen = {} if jax.default_backend() == "cpu" else PUBLISHED_SETTINGS
    known = systems.parse(model).system.settings
    return {"tails": True} | {name: value for name, value in chosen.items() if name in known}


def recipe_settings_of(model: str) -> dict[str, Any]:
    """The weight of the joint score for recipes that learn from it."""
    return {"weight": SCORE_WEIGHT} if "scandal" in model else {}


def _measure_alices(job: Job, train: Pool, test: Pool) -> Row:
    """Train the classifier, and measure what it can know."""
    started, used = time.perf_counter(), time.process_time()
    model, losses, minutes = train_alices(jr.key(job.seed), train, job.budget)
    where = folder(job.out, "alices", job.seed)
    where.mkdir(exist_ok=True)
    write_atomically(where / "losses.json", json.dumps(losses).encode())
    return {
        "status": "finished",
        "train_minutes": minutes,
        "wall_seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - used,
        "commit": commit(),
        **information(model, test),
        **posterior_numbers(model, test, where, quick=job.quick),
    }


def finish(out: Path, rows: list[Row]) -> None:
    """Draw constraints, samples, posteriors and learning curves of the first seed."""
    rows = [row for row in rows if row["seed"] == 0]
    _, test = pools(out, quick=rows[0].get("quick", False))
    count = QUICK_TEST if rows[0].get("quick") else TEST
    truth = test.x[test.draw(jr.key(0), np.zeros(2), min(count, len(test) // 2))]
    folders = {row["model"]: folder(out, row["model"], 0) for row in rows}
    found = {name: runs.open_run(at) for name, at in folders.items() if name != "alices"}
    posteriors = {
        name: [GridPosterior(each).log_density for each in np.load(at / POSTERIORS)]
        for name, at in folders.items()
        if (at / POSTERIORS).is_file()
    }
    if found:
        _draw_learned(out, truth, found, count)
    draw_posteriors(out / "posteriors.png", THETA, posteriors)
    Console().print(f"Figures: *.png in {out}")


def _draw_learned(out: Path, truth: np.ndarray, found: dict[str, runs.Run], count: int) -> None:
    samples = {
        name: np.asarray(run.flow.sample(jr.key(0), (count,), jnp.zeros(2)))
        for name, run in found.items()
    }
    draw_samples(out / "samples.png", truth, samples)
    draw_constraints(out / "constraints.png", samples)
    draw_learning(out / "learning.png", {name: run.history for name, run in found.items()})


PUBLISHED: dict[str, dict[str, str]] = {
    system: dict(zip(("closure", "reconstruction", "log_posterior"), row, strict=True))
    for system, row in {
        "af": (".0019", "-", "-3.94"),
        "pie+conditional_chart": (".0023", "2.054", "-4.68"),
        "pie": (".0022", "1.681", "-1.82"),
        "m-flow": (".0045", ".012", "-1.71"),
        "me-flow": (".0046", ".029", "-1.44"),
        "af:scandal-likelihood": (".0565", "-", "-.40"),
        "pie:scandal-likelihood": (".1019", "1.751", ".23"),
        "m-flow:scandal": (".0371", ".011", ".11"),
        "me-flow:scandal": (".0291", ".030", ".14"),
        "alices": ("-", "-", ".05"),
    }.items()
}

EXPERIMENT = Experiment(
    title="Particle physics",
    measure=measure,
    axes={"model": (*SYSTEMS, *WITH_SCORE, "alices")},
    quick={"model": ("m-flow:scandal", "alices")},
    columns={
        "closure": "closure",
        "reconstruction": "reconstr.",
        "log_posterior": "log posterior",
        "log_posterior_prior": "over prior",
        "coverage_1": "coverage",
        "coverage_20": "of 20",
        "recalibrated": "recal.",
        "information_c_W": "inform.",
        "cpu_seconds": "CPU s",
    },
    budget=30.0,
    prepare=prepare,
    finish=finish,
    published=PUBLISHED,
)
