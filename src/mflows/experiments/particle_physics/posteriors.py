"""Posteriors of two couplings on a grid over the prior, from log-likelihoods of single events.

The log-likelihood of every event is computed once at every node of a coarse grid. That of a set of
events is the sum of its events', interpolated by cubic splines to a fine grid, where the posterior
is normalised by quadrature: no chains, and no estimate of a density from draws.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.interpolate import RectBivariateSpline
from scipy.stats import kstest

from mflows.data import save_array
from mflows.experiments.driver import Row
from mflows.flow import Flow
from mflows.inference import Calibration, Misspecified, log_likelihood
from mflows.inference.likelihood import LogLikelihood
from mflows.keys import generator
from mflows.simulators import HasLogProb
from mflows.simulators.physics.features import NAMES
from mflows.simulators.physics.pool import REACH, Pool

SCALE = REACH / np.sqrt(3)
"""Standard deviation of the prior."""
THETA = SCALE * np.array([[0.0, 0.0], [0.5, 0.0], [-1.0, -1.0]])
"""Where posteriors are asked for: the published three, in units of the prior's deviation."""
OBSERVED, SETS = 20, 5
SINGLES, GROUPS = 300, 60
"""Sets of one event and of ``OBSERVED`` ones by which posteriors are calibrated."""
NODES, FINE = 15, 101
DRAWS, MASS = 99, 0.9
TEMPERS = np.geomspace(0.05, 2, 60)
POSTERIORS = "posteriors.npy"
_AT_ONCE = 1024
TEST_SEED = 1_000_003


@dataclass(frozen=True, eq=False)
class GridPosterior:
    """The posterior of a set of events, under the uniform prior.

    Args:
        log_likelihood: At the nodes of the coarse grid, shape (NODES, NODES).
        tempering: Factor on it.
    """

    log_likelihood: Float[np.ndarray, "nodes nodes"]
    tempering: float = 1.0

    @cached_property
    def _spline(self) -> RectBivariateSpline:
        nodes = axis(NODES)
        return RectBivariateSpline(nodes, nodes, self.tempering * self.log_likelihood)

    @cached_property
    def log_density(self) -> Float[np.ndarray, "fine fine"]:
        """Log posterior density at the nodes of the fine grid, with respect to theta."""
        fine = axis(FINE)
        values = self._spline(fine, fine)
        top = values.max()
        mass = np.trapezoid(np.trapezoid(np.exp(values - top), fine), fine)
        return values - top - np.log(mass)

    def log_prob(self, theta: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, " N"]:
        """Log posterior density at theta."""
        shift = self.log_density[0, 0] - self._spline(-REACH, -REACH)[0, 0]
        return self._spline.ev(*theta.T) + shift

    def draw(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, "count 2"]:
        """Independent draws."""
        density = np.exp(self.log_density - self.log_density.max())
        edges = density[1:] + density[:-1]
        cells = (edges[:, 1:] + edges[:, :-1]).ravel()  # by their four corners
        chosen = rng.choice(cells.size, size=count, p=cells / cells.sum())
        corner = np.stack(np.unravel_index(chosen, (FINE - 1, FINE - 1)), axis=1)
        return (corner + rng.uniform(size=corner.shape)) * 2 * REACH / (FINE - 1) - REACH


def axis(size: int) -> Float[np.ndarray, " size"]:
    """Nodes along a coupling."""
    return np.linspace(-REACH, REACH, size)


def log_likelihoods(
    model: Flow | HasLogProb, x: Float[np.ndarray, "N 40"]
) -> Float[np.ndarray, "N nodes nodes"]:
    """Of every event, at the nodes of the grid, up to a number of its own."""
    theta = jnp.stack(jnp.meshgrid(*[axis(NODES)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    found = []
    for start in range(0, len(x), _AT_ONCE):
        here = x[start : start + _AT_ONCE]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Misspecified)  # they are test events
            likelihood = log_likelihood(model, here)
        values = _at_nodes(likelihood, theta)
        found.append(np.asarray(values, dtype=float)[:, : len(here)])
    return np.concatenate(found, axis=1).T.reshape(len(x), NODES, NODES)


@eqx.filter_jit
def _at_nodes(likelihood: LogLikelihood, theta: Array) -> Array:
    return jax.lax.map(likelihood.each, theta)


@dataclass(frozen=True, eq=False)
class Sets:
    """Sets of events, each at its own theta, and their log-likelihoods.

    Args:
        theta: True parameters, shape (sets, 2).
        x: Events, shape (sets, size, 40).
        log_likelihood: Of the sets at the nodes, shape (sets, NODES, NODES).
    """

    theta: Float[np.ndarray, "sets 2"]
    x: Float[np.ndarray, "sets size 40"]
    log_likelihood: Float[np.ndarray, "sets nodes nodes"]

    def posteriors(self, tempering: float = 1.0) -> list[GridPosterior]:
        """One of each set."""
        return [GridPosterior(each, tempering) for each in self.log_likelihood]

    def log_prob(self, tempering: float = 1.0) -> Float[np.ndarray, " sets"]:
        """Log posterior density of the true parameters of each set."""
        pairs = zip(self.posteriors(tempering), self.theta, strict=True)
        return np.array([posterior.log_prob(theta[None])[0] for posterior, theta in pairs])

    def calibration(self, key: PRNGKeyArray, prior: object, tempering: float = 1.0) -> Calibration:
        """Where the true parameters are in the posteriors."""
        key, judge_key = jr.split(key)
        rng, posteriors = generator(key), self.posteriors(tempering)
        draws = np.stack([each.draw(rng, DRAWS) for each in posteriors])
        pairs = zip(posteriors, draws, strict=True)
        density = np.stack([posterior.log_prob(each) for posterior, each in pairs])
        denser = density > self.log_prob(tempering)[:, None]
        return Calibration.of_draws(
            judge_key, draws, self.theta, prior, names=("c_W", "c_HWtilde"), denser=denser
        )

    def best_tempering(self) -> float:
        """The factor on log-likelihoods that makes the true parameters most likely."""
        return float(TEMPERS[np.argmax([self.log_prob(each).mean() for each in TEMPERS])])

    def half(self, which: int) -> "Sets":
        """Every other set."""
        at = slice(which, None, 2)
        return Sets(self.theta[at], self.x[at], self.log_likelihood[at])


def drawn(
    key: PRNGKeyArray, model: Flow | HasLogProb, pool: Pool, *wanted: tuple[np.ndarray, int]
) -> list[Sets]:
    """Sets of events out of the pool: for each of ``wanted``, true parameters and size of sets."""
    x = [
        pool.simulate(jr.fold_in(key, i), np.repeat(theta, size, axis=0))
        for i, (theta, size) in enumerate(wanted)
    ]
    each = np.split(log_likelihoods(model, np.concatenate(x)), np.cumsum([*map(len, x)])[:-1])
    return [
        Sets(theta, x.reshape(-1, size, x.shape[1]), y.reshape(-1, size, *y.shape[1:]).sum(axis=1))
        for (theta, size), x, y in zip(wanted, x, each, strict=True)
    ]


def posterior_numbers(model: Flow | HasLogProb, pool: Pool, folder: Path, *, quick: bool) -> Row:
    """Log posterior of the true theta, coverage of one event and of 20, and a recalibration.

    The posteriors of one set of events at each of ``THETA`` are written to the folder, and figures
    of calibration.
    """
    fewer, key, scale = (20 if quick else 1), jr.key(TEST_SEED), 2 * float(np.log(SCALE))
    keys = jr.split(key, 6)
    theta = np.asarray(pool.prior.sample(keys[0], (SINGLES // fewer + GROUPS // fewer,)))
    singles, groups = np.split(theta, [SINGLES // fewer])
    at_three = np.repeat(THETA, max(SETS // fewer, 2), axis=0)
    three, one, many = drawn(
        keys[1], model, pool, (at_three, OBSERVED), (singles, 1), (groups, OBSERVED)
    )
    if not all(np.isfinite(sets.log_likelihood).all() for sets in (three, one, many)):
        return {"status": "failed: log-likelihoods are not finite"}
    save_array(folder / POSTERIORS, three.log_likelihood[:: len(three.theta) // len(THETA)])
    of_each = three.log_prob().reshape(len(THETA), -1).mean(axis=1) + scale
    found: Row = {f"log_posterior_{i}": float(value) for i, value in enumerate(of_each)}
    found["log_posterior"] = float(of_each.mean())
    found["log_posterior_prior"] = float(many.log_prob().mean()) + scale
    of_one, of_many = (
        sets.calibration(key, pool.prior) for sets, key in ((one, keys[2]), (many, keys[3]))
    )
    for size, calibration in ((1, of_one), (OBSERVED, of_many)):
        calibration.plot(folder / f"calibration-{size}.png")
        found |= _summary(calibration, size)
    covered = of_one.levels["HPD"] <= MASS
    order = np.argsort(one.x[:, 0, NAMES.index("pT(j1)")])
    local = [float(covered[at].mean()) for at in np.array_split(order, 3)]
    found |= {"local_lowest": min(local), "local_highest": max(local)}
    halves, covered = [many.half(0), many.half(1)], []
    for judged, learnt, own in zip(halves, halves[::-1], keys[4:], strict=True):
        again = judged.calibration(own, pool.prior, learnt.best_tempering())
        covered.append(again.levels["HPD"] <= MASS)
    found["recalibrated"] = float(np.concatenate(covered).mean())
    return found | {"tempering": many.best_tempering()}


def _summary(calibration: Calibration, size: int) -> Row:
    """Coverage by the region of highest density, and the least p-value of all tests."""
    levels = calibration.levels
    p = {name: float(kstest(level, "uniform").pvalue) for name, level in levels.items()}
    return {
        f"coverage_{size}": float(np.mean(levels["HPD"] <= MASS)),
        f"tarp_p_{size}": p["TARP"],
        f"least_p_{size}": min(p.values()),
    }
