r"""Posterior predictive check: would the posterior's parameters have made the observed points?

Many sets of m points are simulated, each at one draw of the posterior, and statistics of each set
are compared with those of the observed one (Gelman, Meng & Stern 1996). A statistic beyond all
simulated ones says that the simulator does not describe the observation.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.random as jr
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray

from mflows.flow import Flow
from mflows.inference.alarms import Misspecified
from mflows.inference.chains import Posterior, shown_whole
from mflows.inference.likelihood import checked_points
from mflows.inference.simulation import points_at
from mflows.keys import checked, generator
from mflows.simulators import Simulator

STATISTICS: Mapping[str, Callable] = {
    "mean": lambda x: x.mean(axis=0),
    "sd": lambda x: x.std(axis=0),
}
"""Statistics of points (m, *shape), by name; each of any shape."""
BEYOND = 4.0
"""Standard deviations beyond which, and beyond all replicas, a statistic is named."""


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """Statistics of the observed points beside those of simulated ones.

    Attributes:
        names: Names of the S statistics.
        observed: Of the observed points, shape (S,).
        replicated: Of simulated points, shape (replicas, S).
    """

    names: tuple[str, ...]
    observed: Float[np.ndarray, " S"]
    replicated: Float[np.ndarray, "replicas S"]

    @property
    def p(self) -> Float[np.ndarray, " S"]:
        """Two-sided posterior predictive p-value of each statistic."""
        count = len(self.replicated) + 1
        above = (1 + (self.replicated >= self.observed).sum(0)) / count
        below = (1 + (self.replicated <= self.observed).sum(0)) / count
        return np.minimum(1.0, 2 * np.minimum(above, below))

    @property
    def z(self) -> Float[np.ndarray, " S"]:
        """Distance of each statistic from the mean of its replicas, in standard deviations."""
        sd = self.replicated.std(axis=0)
        off = self.observed - self.replicated.mean(axis=0)
        return np.divide(off, sd, out=np.zeros_like(off), where=sd > 0)

    @property
    def beyond(self) -> np.ndarray:
        """Which statistics are beyond all replicas, and far, shape (S,)."""
        most, least = self.replicated.max(axis=0), self.replicated.min(axis=0)
        outside = (self.observed > most) | (self.observed < least)
        return outside & (np.abs(self.z) > BEYOND)

    def summary(self) -> Any:
        """A table with one row for each statistic."""
        low, high = np.quantile(self.replicated, (0.05, 0.95), axis=0)
        columns = {"observed": self.observed, "5%": low, "95%": high, "z": self.z, "p": self.p}
        return shown_whole({"statistic": list(self.names), **columns})

    def plot(self, path: str | Path) -> Path:
        """Write a figure: every statistic among its replicas, in units of their spread."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 0.7 + 0.28 * len(self.names)), layout="constrained")
        axes = figure.subplots()
        sd = np.where(self.replicated.std(axis=0) > 0, self.replicated.std(axis=0), 1.0)
        scaled = (self.replicated - self.replicated.mean(axis=0)) / sd
        rows = np.arange(len(self.names))
        for mass, width in ((0.95, 3), (0.5, 7)):
            low, high = np.quantile(scaled, (0.5 - mass / 2, 0.5 + mass / 2), axis=0)
            label = f"{mass:.0%} of replicas"
            axes.hlines(rows, low, high, color="0.75", linewidth=width, label=label)
        axes.plot(self.z, rows, "o", color="#b3242b", label="observed")
        axes.set(yticks=rows, yticklabels=self.names, xlabel="standard deviations of the replicas")
        axes.invert_yaxis()
        axes.legend(loc="best", frameon=False, fontsize="small")
        figure.savefig(path, dpi=150)
        return Path(path)


def predictive_check(
    key: PRNGKeyArray,
    model: Flow | Simulator | Callable,
    posterior: Posterior | ArrayLike,
    x: ArrayLike,
    *,
    replicas: int = 500,
    statistics: Mapping[str, Callable] = STATISTICS,
    vectorized: bool = False,
) -> PredictiveCheck:
    """Compare the observed points with points simulated at draws of the posterior.

    Args:
        key: Random key.
        model: What made the points of training: a simulator as for `simulate`, or the flow itself.
        posterior: What `nuts` returned, or draws of theta, shape (N, k).
        x: The observed points, shape (m, *shape).
        replicas: Number of simulated sets of m points.
        statistics: Functions of points (m, *shape), by name.
        vectorized: As for `simulate`.

    Raises:
        ValueError: For shapes that do not fit.

    Warns:
        Misspecified: If a statistic lies beyond all replicas, and far.
    """
    x = checked_points(model, x)  # pyrefly: ignore[bad-argument-type]
    draws = np.asarray(posterior.pooled if isinstance(posterior, Posterior) else posterior)
    if draws.ndim != 2 or not len(draws) or replicas < 2:
        raise ValueError(
            "Expected draws of theta of shape (N, k) and at least 2 replicas; got "
            f"{draws.shape} and {replicas}."
        )
    theta_key, key = jr.split(checked(key))
    chosen = draws[generator(theta_key).integers(len(draws), size=replicas)]
    theta = np.repeat(chosen, len(x), axis=0)
    if isinstance(model, Flow):
        made = np.asarray(model.sample(key, (), theta))
    else:
        made = points_at(key, model, theta, vectorized=vectorized)
    made = made.reshape(replicas, *x.shape)
    names, observed, replicated = [], [], []
    for name, statistic in statistics.items():
        of_x = np.asarray(statistic(x), dtype=float)
        places = [", ".join(map(str, i)) for i in np.ndindex(of_x.shape)]
        names += [f"{name} of x[{place}]" if place else name for place in places]
        observed.append(of_x.ravel())
        replicated.append(np.stack([np.ravel(statistic(each)) for each in made]))
    found = PredictiveCheck(
        tuple(names), np.concatenate(observed), np.concatenate(replicated, axis=1)
    )
    if found.beyond.any():
        worst = int(np.argmax(np.where(found.beyond, np.abs(found.z), 0)))
        warnings.warn(
            f"{found.beyond.sum()} of {len(names)} statistics of the observed points are beyond "
            f"those of {replicas} simulated sets; the farthest is {names[worst]}, "
            f"{abs(found.z[worst]):.1f} standard deviations off. The simulator does not describe "
            "the observation, or the posterior is wrong.",
            Misspecified,
            stacklevel=2,
        )
    return found
