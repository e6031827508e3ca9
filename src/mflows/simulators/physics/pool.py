r"""Events at any theta, from a pool of Standard Model events with weights.

An event z of the pool, with the matrix G of its squared matrix element, is by

    r(z | theta) = p(z | theta) / p(z | 0) = (t^T G t / G_00) / (t^T R t),    t = (1, theta)

times as likely at theta. R is the mean of G / G_00 over the pool: t^T R t is how the rate of
accepted events depends on theta, so that E[r] = 1. The joint score is

    grad log p(z | theta) = grad log(t^T G t) - grad log(t^T R t),

whose mean at theta is 0 (Brehmer et al. 2018, arXiv 1805.00020).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from flowjax.distributions import Uniform
from jaxtyping import ArrayLike, Float, Int, PRNGKeyArray

from mflows.keys import checked, generator
from mflows.simulators.physics.features import check_features
from mflows.simulators.physics.matrix_element import COUPLINGS, joint_score, squared
from mflows.simulators.simulator import Scored, points

REACH = 5.0
"""Largest coupling of the prior, 1/TeV^2."""
LEAST_EFFECTIVE = 0.2
"""Part of the pool that events at a theta have to stand for."""
_PROPOSED = 64
UPPER = np.triu_indices(1 + len(COUPLINGS))
"""Rows and columns of the components of G in a file."""


class Paired(NamedTuple):
    """Events, each with a theta of its own, and how much each counts.

    Attributes:
        x: Features, shape (N, 40).
        theta: Parameters, shape (N, k).
        joint_score: grad log p(z | theta) of each, shape (N, k).
        weight: How many events of p(theta) p(x | theta) each stands for, mean 1, shape (N,).
    """

    x: Float[np.ndarray, "N 40"]
    theta: Float[np.ndarray, "N k"]
    joint_score: Float[np.ndarray, "N k"]
    weight: Float[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class Pool:
    """A simulator of events at theta = (c_W, c_HWtilde), out of a pool.

    Args:
        x: Features of the events, shape (N, 40).
        matrices: Their matrices G, shape (N, 4, 4).
        rate: The matrix R; by default that of these events.

    Raises:
        ValueError: For another number of matrices. What comes from a file is checked by `of`.
    """

    x: Float[np.ndarray, "N 40"]
    matrices: Float[np.ndarray, "N 4 4"]
    rate: Float[np.ndarray, "4 4"] | None = None

    def __post_init__(self):
        if self.matrices.shape != (len(self.x), 4, 4):
            raise ValueError(
                f"Expected a matrix for each of the {len(self.x)} events, shape (N, 4, 4); got "
                f"{self.matrices.shape}."
            )
        if self.rate is None:
            rate = (self.matrices / self.matrices[:, :1, :1]).mean(axis=0)
            object.__setattr__(self, "rate", rate)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The pool in a file of ``mflows simulate wbf-higgs``.

        Raises:
            ValueError: If it is no such file, or as `of`.
        """
        if Path(path).suffix.lower() != ".npz":
            raise ValueError(f"Expected a pool of events in a file .npz; got {path}.")
        with np.load(path) as file:
            if missing := {"x", "components"} - {*file}:
                raise ValueError(
                    f"{path}: expected a file of mflows simulate wbf-higgs, with x and components; "
                    f"got none of {', '.join(sorted(missing))}."
                )
            return cls.of(file)

    @classmethod
    def of(cls, events: Mapping[str, np.ndarray]) -> Self:
        """The pool of arrays ``x`` (N, 40) and ``components`` (N, 10).

        Raises:
            ValueError: For features that are none, see `check_features`, or other shapes.
        """
        return cls(check_features(events["x"]), matrices(events["components"]))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def prior(self) -> Uniform:
        """Uniform on [-5, 5]^2."""
        return Uniform(-jnp.full(2, REACH), jnp.full(2, REACH))

    def split(self, *parts: float) -> list[Self]:
        """Pools without a common event, in parts of these sizes, which share the rate.

        Events are in the order of generation, which is random.

        Raises:
            ValueError: If the parts are more than the whole, or one is empty.
        """
        sizes = [round(part * len(self)) for part in parts]
        if min(sizes) < 1 or sum(parts) > 1 + 1e-9:
            raise ValueError(f"Expected parts above 0 of a sum of at most 1; got {parts}.")
        ends = np.cumsum(sizes)
        return [self.at(slice(end - size, end)) for end, size in zip(ends, sizes, strict=True)]

    def at(self, rows: slice | Int[np.ndarray, " M"]) -> Self:
        """The pool of these events, which shares the rate."""
        return replace(self, x=self.x[rows], matrices=self.matrices[rows])

    def ratio(self, theta: ArrayLike) -> Float[np.ndarray, " N"]:
        """p(z | theta) / p(z | 0) of every event.

        Args:
            theta: 1 to 3 couplings in the order of ``matrix_element.COUPLINGS``, for all events or
                for each, shape (k,) or (N, k).
        """
        theta = np.asarray(theta, dtype=float)
        return squared(self.matrices, theta) / (self.matrices[:, 0, 0] * squared(self._rate, theta))

    def joint_score(self, theta: ArrayLike) -> Float[np.ndarray, "N k"]:
        """Grad log p(z | theta) of every event, theta as for `ratio`."""
        theta = np.asarray(theta, dtype=float)
        return joint_score(self.matrices, theta) - joint_score(self._rate, theta)

    def effective(self, theta: ArrayLike) -> float:
        """Part of the pool that its weights at theta leave, (sum r)^2 / (N sum r^2)."""
        return _effective(self.ratio(theta))

    def draw(
        self, key: PRNGKeyArray | np.random.Generator, theta: ArrayLike, count: int
    ) -> Int[np.ndarray, " count"]:
        """Numbers of events at one theta, drawn by their weights.

        No event comes twice, unless it stands for more than one of ``count``.

        Raises:
            ValueError: If theta is beyond the reach of the pool: its weights leave less than a
                fifth of it, or fewer events than are asked for.
        """
        if count < 1:
            raise ValueError(f"Expected at least one event; got {count}.")
        ratio = self.ratio(theta)
        part = _effective(ratio)
        there = f"at theta = {np.asarray(theta).tolist()} weights leave {part:.0%} of {len(self):,}"
        if part < LEAST_EFFECTIVE:
            raise ValueError(
                f"Expected theta within the reach of the pool, where weights leave at least "
                f"{LEAST_EFFECTIVE:.0%} of it; {there} events. Take a theta nearer to 0."
            )
        if count > part * len(self):
            raise ValueError(
                f"Expected at most {int(part * len(self)):,} events; got {count:,}: {there}. Take "
                "fewer, or a larger pool (mflows simulate wbf-higgs --events)."
            )
        rng = key if isinstance(key, np.random.Generator) else generator(checked(key))
        shuffled = rng.permutation(len(self))
        ends = np.cumsum(ratio[shuffled])
        at = (np.arange(count) + rng.uniform()) / count * ends[-1]
        rows = np.minimum(np.searchsorted(ends, at), len(self) - 1)
        return rng.permutation(shuffled[rows])

    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[np.ndarray, "... 40"]:
        """An event for every parameter vector in ``theta``, drawn by `draw`.

        Every different theta takes a pass over the pool: this is for tests. To train on, `paired`.
        """
        return np.asarray(self.simulate_with_joint_score(key, theta).x)

    def simulate_with_joint_score(self, key: PRNGKeyArray, theta: ArrayLike) -> Scored:
        """The events of ``simulate``, and the joint score of each."""
        theta = np.asarray(points("theta", theta, 2, "Pool"), dtype=float)
        each, group, counts = np.unique(
            theta.reshape(-1, 2), axis=0, return_inverse=True, return_counts=True
        )
        rng, places = generator(checked(key)), np.argsort(group.ravel(), kind="stable")
        rows = np.empty(len(places), dtype=int)
        score = np.empty((len(places), 2))
        for at, here in zip(each, np.split(places, counts.cumsum()[:-1]), strict=True):
            rows[here] = drawn = self.draw(rng, at, len(here))
            score[here] = joint_score(self.matrices[drawn], at) - joint_score(self._rate, at)
        shape = theta.shape[:-1]
        x, score = self.x[rows].reshape(*shape, -1), score.reshape(*shape, 2)
        return Scored(jnp.asarray(x), jnp.asarray(score))

    def paired(self, key: PRNGKeyArray) -> Paired:
        """All events, each once, at parameters from the prior: what to train on.

        An event takes one of 64 draws from the prior by its ratio at each, and counts as the mean
        of these ratios. The pairs with their weights follow p(theta) p(x | theta), and no event is
        there twice, so that parts of them have none in common.
        """
        rng = generator(checked(key))
        theta, total = np.zeros((len(self), 2)), np.zeros(len(self))
        for _ in range(_PROPOSED):
            proposed = rng.uniform(-REACH, REACH, size=theta.shape)
            ratio = self.ratio(proposed)
            total += ratio
            theta = np.where(
                (rng.uniform(size=len(self)) * total < ratio)[:, None], proposed, theta
            )
        return Paired(self.x, theta, self.joint_score(theta), total / total.mean())

    @property
    def _rate(self) -> Float[np.ndarray, "1 4 4"]:
        assert self.rate is not None
        return self.rate[None]


def matrices(components: Float[np.ndarray, "N 10"]) -> Float[np.ndarray, "N 4 4"]:
    """The symmetric matrices G of events, of their upper triangles, row by row."""
    found = np.empty((len(components), 4, 4))
    found[:, *UPPER] = components
    found[:, *UPPER[::-1]] = components
    return found


def _effective(weight: Float[np.ndarray, " N"]) -> float:
    """Part of points of such weights that tells as much at equal weights (Kish 1965)."""
    return float(weight.sum() ** 2 / (len(weight) * np.square(weight).sum()))
