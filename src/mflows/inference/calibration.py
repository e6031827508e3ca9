r"""Is a posterior calibrated? Asked of many simulated data sets whose parameters are known.

For theta drawn from the prior and points x from the simulator, theta is one more draw from the true
posterior p(theta | x). So among L draws from a calibrated posterior

* each parameter of theta has a uniform rank (simulation-based calibration, Talts et al. 2018, arXiv
  1804.06788);
* the share of draws that are nearer than theta to a random point is uniform (TARP: Lemos et al.
  2023, arXiv 2302.03026);
* the share of draws of higher posterior density is uniform (HPD: Hermans et al. 2022, arXiv
  2110.06581).

A uniform share has the cumulative distribution alpha, which is shown beside the band that holds
95% of such curves (Kolmogorov and Smirnov).
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray
from scipy.stats import kstest, kstwo

from mflows.flow import Flow
from mflows.inference.alarms import Misspecified, alarm_of_prior
from mflows.inference.chains import shown_whole
from mflows.inference.diagnostics import SamplingWarning, imported_arviz
from mflows.inference.likelihood import filled, log_likelihood
from mflows.inference.no_u_turn import chain
from mflows.inference.posterior import LogPosterior
from mflows.inference.priors import Prior, as_prior
from mflows.inference.simulation import points_at
from mflows.keys import checked, generator
from mflows.simulators import HasLogProb, Simulator

MASSES = (0.5, 0.9)
"""Masses of the regions whose coverage the summary shows."""
IN_DOUBT = 0.01
"""P-value below which a posterior is said to be miscalibrated, over the number of tests."""
UNSETTLED = 0.1
"""Share of the chains that are not settled, above which the answer is in doubt."""
_AT_ONCE = 128
_TRIES = 16


class Miscalibrated(UserWarning):
    """The posterior is too narrow, too wide or shifted; the message says which and by how much."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Where the true parameters lie in the posteriors of their data sets.

    Attributes:
        names: Names of the k parameters.
        ranks: Share of the draws below the true parameter, shape (datasets, k).
        tarp: Share of the draws nearer than the true parameters to a random point, shape
            (datasets,).
        hpd: Share of the draws of higher posterior density than the true parameters, shape
            (datasets,); ``None`` where there is no density.
        draws: Draws of each posterior.
    """

    names: tuple[str, ...]
    ranks: Float[np.ndarray, "datasets k"]
    tarp: Float[np.ndarray, " datasets"]
    hpd: Float[np.ndarray, " datasets"] | None
    draws: int

    @classmethod
    def of_draws(
        cls,
        key: PRNGKeyArray,
        draws: Float[np.ndarray, "datasets L k"],
        theta: Float[np.ndarray, "datasets k"],
        prior: Prior,
        *,
        names: Sequence[str] = (),
        denser: Bool[np.ndarray, "datasets L"] | None = None,
    ) -> Self:
        """Where true parameters lie among draws that were made elsewhere.

        Args:
            key: Random key, for the points that TARP refers to, and for ties.
            draws: Draws from the posterior of each data set.
            theta: The parameters that made it, drawn from the prior.
            prior: As for `nuts`.
            names: Names of the k parameters.
            denser: Which draws have a higher posterior density than the true parameters.

        Raises:
            ValueError: For shapes that do not fit.
        """
        draws, theta = np.asarray(draws), np.asarray(theta)
        if draws.ndim != 3 or (draws.shape[0], draws.shape[2]) != theta.shape:
            raise ValueError(
                "Expected draws of shape (datasets, L, k) and theta of shape (datasets, k); got "
                f"{draws.shape} and {theta.shape}."
            )
        names = tuple(names) or tuple(f"theta{i}" for i in range(theta.shape[1]))
        if len(names) != theta.shape[1]:
            raise ValueError(f"Expected names of {theta.shape[1]} parameters; got {names}.")
        if denser is not None and np.shape(denser) != draws.shape[:2]:
            raise ValueError(f"Expected denser of shape {draws.shape[:2]}; got {np.shape(denser)}.")
        rng = generator(checked(key))
        return cls(
            names,
            _share(rng, draws < theta[:, None]),
            _share(rng, _nearer(rng, draws, theta, as_prior(prior))),
            None if denser is None else _share(rng, np.asarray(denser)),
            draws.shape[1],
        )

    @property
    def levels(self) -> dict[str, Float[np.ndarray, " datasets"]]:
        """All shares by name, each uniform on [0, 1] for a calibrated posterior."""
        found = {f"rank of {name}": self.ranks[:, i] for i, name in enumerate(self.names)}
        found["TARP"] = self.tarp
        return found if self.hpd is None else found | {"HPD": self.hpd}

    @property
    def band(self) -> float:
        """Half width of the band that holds 95% of the curves of calibrated posteriors."""
        return float(kstwo.ppf(0.95, len(self.tarp)))

    def summary(self) -> Any:
        """A table with one row for each test.

        Columns: the share of data sets whose truth is within the central region (ranks), or that
        of highest density (HPD), of mass 50 and 90%; the largest distance of the curve from the
        diagonal; and its p-value.
        """
        rows = defaultdict(list)
        for name, levels in self.levels.items():
            test = kstest(levels, "uniform")
            rows["test"].append(name)
            for mass in MASSES:
                rows[f"within {mass:.0%}"].append(_within(name, levels, mass))
            rows["error"].append(float(test.statistic))
            rows["p"].append(float(test.pvalue))
        return shown_whole(rows)

    def problems(self) -> list[str]:
        """What is wrong, in words; empty if nothing is seen."""
        found, tests = [], len(self.levels)
        for name, levels in self.levels.items():
            if kstest(levels, "uniform").pvalue < IN_DOUBT / tests:
                found.append(f"{name}: {_fault(name, levels)}")
        return found

    def plot(self, path: str | Path) -> Path:
        """Write a figure of all curves with their band, in the format of the file's suffix."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        alpha = np.linspace(0, 1, 501)
        for name, levels in self.levels.items():
            panel = left if name.startswith("rank of ") else right
            share = np.searchsorted(np.sort(levels), alpha, side="right") / len(levels)
            panel.plot(alpha, share - alpha, label=name.removeprefix("rank of "))
        band = {"facecolor": "0.92", "edgecolor": "0.7", "label": "95% of calibrated posteriors"}
        for panel, title in ((left, "Ranks of the true parameters"), (right, "Coverage")):
            panel.fill_between(alpha, -self.band, self.band, **band)
            panel.axhline(0, color="0.4", linewidth=0.8)
            panel.set(title=title, xlabel="share of draws $\\alpha$", xlim=(0, 1))
            panel.margins(y=0.35)  # room for the legend
            panel.legend(loc="upper center", ncols=2, frameon=False, fontsize="small")
        left.set_ylabel("share of data sets at or below $\\alpha$, minus $\\alpha$")
        figure.savefig(path, dpi=150)
        return Path(path)


def calibrate(
    key: PRNGKeyArray,
    model: Flow | HasLogProb | Callable,
    simulator: Simulator | Callable,
    prior: Prior,
    *,
    datasets: int = 200,
    points: int = 1,
    draws: int = 60,
    thin: int = 4,
    warmup: int = 200,
    names: Sequence[str] = (),
    vectorized: bool = False,
    seen: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Infer the parameters of many simulated data sets, and see where the true ones lie.

    Args:
        key: Random key.
        model: As for `nuts`; or a function ``(key, x) -> theta`` that draws from a posterior of its
            own, given points of shape (points, *shape): an array of shape (draws, k).
        simulator: As for `simulate`.
        prior: As for `nuts`.
        datasets: Number of data sets.
        points: Observed points m of each.
        draws: Draws L that each posterior is judged by.
        thin: Steps of the chain for each of them, so that they are nearly independent.
        warmup: Steps of adaptation before them.
        names: Names of the k parameters.
        vectorized: As for `simulate`.
        seen: Called with the number of data sets done, and of all.

    Raises:
        ValueError: For shapes that do not fit, or posteriors that are not finite anywhere.

    Warns:
        Miscalibrated: If the posteriors do not hold the truth as often as they claim.
        SamplingWarning: If more than a tenth of the chains have not settled, so that the answer is
            about them rather than the model.
    """
    if min(datasets, points, draws, thin, warmup) < 1:
        raise ValueError("Expected datasets, points, draws, thin and warmup of at least 1.")
    known = as_prior(prior)
    theta_key, point_key, key, judge_key = jr.split(checked(key), 4)
    theta = np.asarray(known.sample(theta_key, (datasets,)))
    repeated = np.repeat(theta, points, axis=0)
    x = points_at(point_key, simulator, repeated, prior=prior, vectorized=vectorized)
    x = x.reshape(datasets, points, *x.shape[1:])
    if len(names) not in (0, theta.shape[1]):
        raise ValueError(f"Expected names of {theta.shape[1]} parameters; got {tuple(names)}.")
    report = seen or (lambda done, of: None)
    density = at_truth = None
    if hasattr(model, "log_prob"):  # a flow or a simulator
        settings = warmup, draws, thin
        found, density, at_truth = _sampled(key, model, known, x, theta, settings, report)
        if (share := _unsettled(found)) > UNSETTLED:
            warnings.warn(
                f"{share:.0%} of the chains have not settled: parts of a chain disagree (R-hat). "
                "The result is of the chains, not the model. Use more warmup or a larger thin.",
                SamplingWarning,
                stacklevel=2,
            )
    else:
        found = _drawn(key, model, x, report)  # pyrefly: ignore[bad-argument-type]
    denser = None if at_truth is None else density > at_truth[:, None]
    calibration = Calibration.of_draws(judge_key, found, theta, known, names=names, denser=denser)
    if problems := calibration.problems():
        warnings.warn(
            f"The posteriors are not calibrated. {' '.join(problems)} Train longer or on more "
            "simulations, or widen what the model can express.",
            Miscalibrated,
            stacklevel=2,
        )
    return calibration


def _sampled(key, model, prior, x, theta, settings, report):
    """Draws (datasets, L, k) by NUTS, their log posterior densities, and those of the truths."""
    flat = x.reshape(-1, *x.shape[2:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Misspecified)  # of the simulator, by definition
        likelihood = log_likelihood(model, flat)
    if isinstance(model, Flow):
        alarm_of_prior(model, prior)
    target = LogPosterior(likelihood, prior)
    rows = likelihood.points[: len(flat)].reshape(*x.shape[:2], *likelihood.points.shape[1:])
    keys = jr.split(key, len(x))
    parts = []
    for start in range(0, len(x), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        size = min(_AT_ONCE, len(x) - start)
        given = keys[part], rows[part], jnp.asarray(theta[part])
        if start:  # the program of the first part serves the last one too
            given = jax.tree.map(lambda leaf: filled(leaf, _AT_ONCE), given)
        found = _chains(given, target, *settings)
        parts.append(jax.tree.map(lambda leaf, n=size: np.asarray(leaf)[:n], found))
        report(start + size, len(x))
    draws, density, at_truth = (np.concatenate(each) for each in zip(*parts, strict=True))
    if not np.isfinite(density).all():
        bad = int((~np.isfinite(density)).any(axis=1).sum())
        raise ValueError(
            f"Expected a finite log posterior where the prior is; it is not for {bad} of {len(x)} "
            "data sets. Is the prior within the range of theta the model was trained on?"
        )
    return draws, density, at_truth


@eqx.filter_jit
def _chains(given, target: LogPosterior, warmup: int, draws: int, thin: int):
    def of_dataset(key, points, truth):
        parts = lambda t: (t.likelihood.points, t.likelihood.count)  # noqa: E731
        here = eqx.tree_at(parts, target, (points, jnp.asarray(len(points))))
        start_key, key = jr.split(key)
        z = jax.vmap(lambda key: here.support.inverse(here.prior._sample(key)))(
            jr.split(start_key, _TRIES)
        )
        first = jnp.argmax(jnp.isfinite(jax.vmap(here.unconstrained)(z)))
        drawn = chain(key, z[first], here, warmup, draws * thin, 0.8)
        theta, log_det = jax.vmap(here.support.transform_and_log_det)(drawn.z[thin - 1 :: thin])
        return theta, drawn.log_prob[thin - 1 :: thin] - log_det, here(truth)

    return jax.vmap(of_dataset)(*given)


def _unsettled(found: Float[np.ndarray, "datasets L k"]) -> float:
    """Share of the data sets of which the quarters of the chain disagree.

    R-hat above 1 + 18 / L in any parameter, which one in 200 chains of independent draws has.
    """
    draws = found.shape[1]
    if draws < 8:  # too few to see it
        return 0.0
    halves = np.stack(np.split(found.swapaxes(0, 1)[: 2 * (draws // 2)], 2))  # each is split again
    arviz, each = imported_arviz(), np.moveaxis(halves, (2, 3), (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        r_hat = np.array([[arviz.rhat(chains) for chains in dataset] for dataset in each])
    return float(np.mean(~(r_hat <= 1 + 18 / draws).all(axis=1)))  # NaN of one that never moved


def _drawn(key, sampler: Callable, x: np.ndarray, report) -> np.ndarray:
    """Draws (datasets, L, k) of somebody's own posterior."""
    found = []
    for i, (each, points) in enumerate(zip(jr.split(key, len(x)), x, strict=True)):
        found.append(np.asarray(sampler(each, points), dtype=float))
        report(i + 1, len(x))
    if len({each.shape for each in found}) > 1 or found[0].ndim != 2:
        raise ValueError(
            f"Expected draws of shape (draws, k) from the posterior; got {found[0].shape}."
        )
    return np.stack(found)


def _share(rng: np.random.Generator, below: np.ndarray) -> np.ndarray:
    """Share of the draws that are ``below``, uniform where the truth is one draw more."""
    count = below.sum(axis=1)
    return (count + rng.uniform(size=count.shape)) / (below.shape[1] + 1)


def _nearer(rng, draws: np.ndarray, theta: np.ndarray, prior) -> np.ndarray:
    """Which draws are nearer than theta to a random point, in standard deviations of the prior."""
    seed = jr.key(int(rng.integers(2**31)))
    reference = np.asarray(prior.sample(seed, (max(len(theta), 1000),)))
    scale = reference.std(axis=0)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
    reference = reference[: len(theta)]
    of_draws = np.linalg.norm((draws - reference[:, None]) / scale, axis=-1)
    return of_draws < np.linalg.norm((theta - reference) / scale, axis=-1)[:, None]


def _within(name: str, levels: np.ndarray, mass: float) -> float:
    """Share of truths within a region of this mass."""
    off = np.abs(2 * levels - 1) if name.startswith("rank of ") else levels
    return float(np.mean(off <= mass))


def _fault(name: str, levels: np.ndarray) -> str:
    """What a share that is not uniform says."""
    within = _within(name, levels, 0.9)
    error = math.sqrt(0.09 / len(levels))
    if name != "TARP" and within < 0.9 - 2 * error:
        return f"too narrow, a region of mass 90% holds {within:.0%} of the truths."
    if name != "TARP" and within > 0.9 + 2 * error:
        return f"too wide, a region of mass 90% holds {within:.0%} of the truths."
    if name.startswith("rank of "):
        side = "too high" if levels.mean() < 0.5 else "too low"
        return f"{side}, {levels.mean():.0%} of the draws are below the truth in the mean."
    return f"the share of draws is off by up to {kstest(levels, 'uniform').statistic:.2f}."
