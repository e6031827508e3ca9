r"""Posteriors by likelihoods and posterior flows of this library, beside sbi's NPE and NLE.

    mflows experiment inference-benchmark --seeds 3

Each method learns from 10,000 simulations, with its defaults, and is asked for the posteriors of
five observations of one point, which are the same for all methods and seeds. Tasks are two moons,
SLCP and SLCP with 92 distractors (the SBI benchmark: Lueckmann et al. 2021, arXiv 2101.04653), and
``RedundantObservables``, of which also one observation of ten points is inferred by those that can.

The methods are

* ``likelihood``: an M-flow on the manifold, or an ambient flow where there is none, and NUTS;
* ``posterior``: a posterior flow on that M-flow, or an ambient flow of theta given x;
* ``npe``, ``nle``: sbi's neural posterior and likelihood estimators (``pip install mflows[sbi]``),
  the latter sampled by its slice sampler.

C2ST is the accuracy of a classifier that tells 2,000 draws from as many of the exact posterior, .5
at best; the classifier is that of the benchmark, a network of two layers of width 10 k. Published
numbers are means of ten observations at 10^4 simulations, of 10,000 draws each.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mflows import metrics, recipes, runs, simulators
from mflows.conditions import OutsideTraining
from mflows.data import Data, load, save_array
from mflows.experiments.driver import Experiment, Job, Row, account, folder
from mflows.inference import SamplingWarning, nuts, support
from mflows.keys import integer_seed
from mflows.models import ambient_flow, posterior_flow
from mflows.training import fit

SIMULATIONS, OBSERVATIONS, TOGETHER, DRAWS = 10_000, 5, 10, 2000
CHAINS = 20
"""Enough to find all modes."""
FEWER = 50
"""The short version has so many times fewer simulations."""
_TEST_SEED = 1_000_003

Sampler = Callable[[jax.Array, np.ndarray], np.ndarray]
"""Draws (DRAWS, k) given a key and points (m, D)."""


@dataclass(frozen=True)
class Task:
    """What is to be inferred.

    Attributes:
        simulator: Its name.
        latent_dim: Dimension of its manifold, ``None`` without one.
        together: Whether its exact posterior is known of several points, too.
    """

    simulator: str
    latent_dim: int | None = None
    together: bool = False


TASKS = {
    "redundant-observables": Task("redundant-observables", 3, together=True),
    "two-moons": Task("two-moons"),
    "slcp": Task("slcp"),
    "slcp-distractors": Task("slcp-distractors"),
}


def measure(job: Job) -> Row:
    """Train one method on one task, sample the posteriors, and compare them with the exact ones."""
    task, seed = TASKS[job.labels["task"]], job.seed
    simulator: Any = simulators.named(task.simulator)
    count = SIMULATIONS // (FEWER if job.quick else 1)
    draws = 40 if job.quick else DRAWS

    def simulate(path: Path) -> None:
        theta_key, key = jr.split(jr.key(seed))
        theta = simulator.prior.sample(theta_key, (count,))
        x = np.asarray(simulator.simulate(key, theta))
        save_array(path, x, more={"theta": np.asarray(theta)})

    path = job.file(f"{task.simulator}-{seed}.npz", simulate)
    started = time.process_time()
    row, sample = METHODS[job.labels["method"]](job, task, path, draws)
    trained = time.process_time() - started
    singles, several = _observed(simulator, task, quick=job.quick)
    if job.labels["method"] in ("posterior", "npe"):
        several = []  # they are of one point
    accuracy, seconds = [], []
    for i, x in enumerate((*singles, *several)):
        started = time.process_time()
        drawn = sample(jr.fold_in(jr.key(seed), i), x)
        seconds.append(time.process_time() - started)
        exact = np.asarray(simulator.posterior(jr.key(i), x if len(x) > 1 else x[0], draws))
        classifier = _classifier(drawn.shape[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # as in the benchmark
            accuracy.append(metrics.two_sample_test(drawn, exact, classifier=classifier))
    each = [test["c2st_accuracy"] for test in accuracy]
    one, together = each[: len(singles)], each[len(singles) :]
    return {
        "c2st": float(np.mean(one)),
        "c2st_worst": max(one),
        "c2st_each": one,
        "c2st_together": together[0] if together else None,
        "train_cpu_seconds": trained,
        "first_cpu_seconds": seconds[0],
        "next_cpu_seconds": float(np.mean(seconds[1:])),
        **row,
    }


def _observed(simulator: Any, task: Task, *, quick: bool) -> tuple[list, list]:
    """Observations (1, D) at a theta each, and of some tasks one of several points (m, D)."""
    keys = [
        jr.split(jr.fold_in(jr.key(_TEST_SEED), i)) for i in range(2 if quick else OBSERVATIONS)
    ]
    theta = [simulator.prior.sample(theta_key, (1,)) for theta_key, _ in keys]
    pairs = zip(keys, theta, strict=True)
    singles = [np.asarray(simulator.simulate(key, at)) for (_, key), at in pairs]
    many = np.asarray(simulator.simulate(jr.key(_TEST_SEED), jnp.tile(theta[0], (TOGETHER, 1))))
    return singles, [many] if task.together else []


def _chains(job: Job) -> int:
    return 4 if job.quick else CHAINS


def _classifier(size: int) -> Any:
    """That of the benchmark."""
    network = MLPClassifier((10 * size, 10 * size), max_iter=1000, random_state=0)
    return make_pipeline(StandardScaler(), network)


def _likelihood_run(job: Job, task: Task, path: Path) -> runs.Run:
    """A likelihood of the job's own, so that its time counts and jobs can run side by side."""
    return job.train(
        folder(job.out, task.simulator, job.labels["method"], job.seed),
        path,
        "m-flow" if task.latent_dim else "af",
        latent_dim=task.latent_dim or 0,
        condition=("theta",),
        simulator=task.simulator,
    )


def _likelihood(job: Job, task: Task, path: Path, draws: int) -> tuple[Row, Sampler]:
    run = _likelihood_run(job, task, path)
    prior = simulators.named(task.simulator).prior
    chains = _chains(job)
    steps = {"chains": chains, "draws": draws // chains, "warmup": 20 if job.quick else 300}

    def sample(key, x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)  # chains stay in their modes
            return nuts(key, run.flow, x, prior, **steps).pooled

    return account(run), sample


def _posterior(job: Job, task: Task, path: Path, draws: int) -> tuple[Row, Sampler]:
    """A flow of the unconstrained coordinates of theta."""
    bounds = support(simulators.named(task.simulator).prior)
    data = load(path, condition=("theta",))
    z = np.asarray(jax.vmap(bounds.inverse)(jnp.asarray(data.condition)))
    flow_key, fit_key = jr.split(jr.key(job.seed))
    small: Any = {"layers": 2, "width": 8, "bins": 4} if job.quick else {}
    if task.latent_dim:
        flow = posterior_flow(flow_key, _likelihood_run(job, task, path).flow, **small)
    else:
        flow = ambient_flow(flow_key, z.shape[1:], data.shape, **small)
    recipe = recipes.maximum_likelihood(2 if job.quick else recipes.epochs_for(len(z)))
    pairs = Data(z, condition=data.x)
    flow = fit(fit_key, flow, pairs, recipe, progress=job.progress).flow

    def sample(key, x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutsideTraining)
            drawn = flow.sample(key, (draws,), x[0])
        return np.asarray(jax.vmap(bounds.transform)(drawn))

    return {"status": "finished"}, sample


def _sbi(job: Job, task: Task, path: Path, draws: int) -> tuple[Row, Sampler]:
    """Estimators of sbi, with its defaults; chains as many as ours."""
    import torch
    from sbi.inference import NLE, NPE
    from sbi.inference.posteriors.posterior_parameters import MCMCPosteriorParameters
    from sbi.utils import BoxUniform
    from sbi.utils.tracking import TensorBoardTracker
    from torch.utils.tensorboard.writer import SummaryWriter

    torch.manual_seed(job.seed)
    bounds = support(simulators.named(task.simulator).prior)
    ends = (jnp.full(bounds.shape, end) for end in (-jnp.inf, jnp.inf))
    low, high = (torch.tensor(np.array(bounds.transform(end))) for end in ends)
    data = load(path, condition=("theta",))
    theta, x = (torch.tensor(part, dtype=torch.float32) for part in (data.condition, data.x))
    own = NPE if job.labels["method"] == "npe" else NLE
    logs = folder(job.out, task.simulator, job.labels["method"], job.seed)
    inference = own(
        BoxUniform(low, high),
        show_progress_bars=False,
        tracker=TensorBoardTracker(SummaryWriter(logs)),  # else it logs into the current folder
    ).append_simulations(theta, x)
    short: Any = {"max_num_epochs": 2} if job.quick else {}
    inference.train(**short)
    sampled: Any = {}
    if own is NLE:
        brief: Any = {"warmup_steps": 2} if job.quick else {}
        sampled["posterior_parameters"] = MCMCPosteriorParameters(num_chains=_chains(job), **brief)
    posterior = inference.build_posterior(**sampled)

    def sample(key, x):
        torch.manual_seed(integer_seed(key))
        observed = torch.tensor(x, dtype=torch.float32)
        return posterior.sample((draws,), x=observed, show_progress_bars=False).numpy()

    return {"status": "finished"}, sample


METHODS: dict[str, Callable[..., tuple[Row, Sampler]]] = {
    "likelihood": _likelihood,
    "posterior": _posterior,
    "npe": _sbi,
    "nle": _sbi,
}

_PUBLISHED = {
    "npe": {"two-moons": ".606", "slcp": ".901", "slcp-distractors": ".970"},
    "nle": {"two-moons": ".713", "slcp": ".771", "slcp-distractors": ".961"},
}

EXPERIMENT = Experiment(
    title="Posteriors by 10,000 simulations: C2ST, .5 at best",
    measure=measure,
    axes={"method": tuple(METHODS), "task": tuple(TASKS)},
    quick={"task": ("redundant-observables",)},
    published={
        f"{method} {task}": {"c2st": number}
        for method, numbers in _PUBLISHED.items()
        for task, number in numbers.items()
    },
    columns={
        "c2st": "C2ST",
        "c2st_worst": "worst",
        "c2st_together": "of ten points",
        "train_cpu_seconds": "training, CPU s",
        "first_cpu_seconds": "first posterior",
        "next_cpu_seconds": "next",
    },
)
