r"""Is the question one that the flow can answer? Looked at before any posterior is shown.

A flow knows the points and parameters that it was trained on. Observed points off its manifold are
a sign of a simulator that does not describe them (misspecification); their posterior is that of
their projections. A prior that reaches beyond the parameters of training asks for an extrapolation.
See Cannon et al. 2022 (arXiv 2209.01845) on what misspecified simulators do to posteriors.
"""

import warnings
from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
from flowjax.distributions import AbstractDistribution
from jaxtyping import ArrayLike, Float
from paramax import unwrap

from mflows.conditions import OutsideTraining
from mflows.flow import Flow

FAR = 2.0
"""Observed points farther off than the farthest of training, by this factor, are named."""
SHIFTED = 5.0
"""Standard errors by which the mean rank of the observed distances may exceed 1/2."""
OUTSIDE = 0.01
"""Part of a prior that may lie outside the range of training without a word."""
_DRAWS = 1000


class Misspecified(UserWarning):
    """Observed points are not like those of training: the posterior may mean nothing."""


class Ranks(NamedTuple):
    """How far observed points are off the manifold, beside points that training has not seen.

    Attributes:
        distance: Of the m observed points, in the units of x, shape (m,).
        rank: Share of the points of training that are nearer, shape (m,): uniform on [0, 1] for
            points of the same kind.
        farthest: Distance of the farthest point of training.
    """

    distance: Float[np.ndarray, " m"]
    rank: Float[np.ndarray, " m"]
    farthest: float

    @property
    def far(self) -> np.ndarray:
        """Which points are far off the manifold, shape (m,)."""
        return self.distance > FAR * self.farthest

    @property
    def shift(self) -> float:
        """Excess of the mean rank over 1/2, in standard errors."""
        return float((self.rank.mean() - 0.5) * np.sqrt(12 * len(self.rank)))


def ranks(flow: Flow, distance: ArrayLike) -> Ranks | None:
    """Compare distances of observed points with those of training; ``None`` if none are known."""
    known = None if flow.distances is None else np.asarray(unwrap(flow.distances))
    if known is None or not np.isfinite(known).all():
        return None
    distance = np.asarray(distance)
    rank = np.searchsorted(known, distance) / len(known)
    return Ranks(distance, rank, float(known[-1]))


def alarm(flow: Flow, distance: ArrayLike) -> None:
    """Warn (`Misspecified`) of observed points that are farther off than those of training."""
    found = ranks(flow, distance)
    if found is None:
        return
    if found.far.any():
        what = (
            f"{found.far.sum()} of {len(found.distance)} observed points lie off the manifold, at "
            f"a distance of up to {found.distance.max():.3g}; points of training lie within "
            f"{found.farthest:.3g} of it."
        )
    elif found.shift > SHIFTED:
        what = (
            f"The {len(found.distance)} observed points lie farther off the manifold than points "
            f"of training: {found.rank.mean():.0%} of those are nearer in the mean, where 50% is "
            f"expected ({found.shift:.1f} standard errors)."
        )
    else:
        return
    warnings.warn(
        f"{what} The flow sees their projections only, so the posterior may be wrong. Are they in "
        "the units of training, with the same columns? If they are, the simulator does not "
        "describe them: add what is missing to it.",
        Misspecified,
        stacklevel=4,
    )


def alarm_at(model: Any, x: ArrayLike, theta: ArrayLike) -> None:
    """`alarm` of a flow whose manifold depends on theta, so that it can be asked at one only."""
    if isinstance(model, Flow) and model.chart.cond_shape is not None:
        alarm(model, model.distance(x, theta))


def alarm_of_prior(flow: Flow, prior: AbstractDistribution) -> None:
    """Warn (`OutsideTraining`) of a prior that reaches beyond the parameters of training."""
    if flow.conditions is None or not flow.conditions.known:
        return
    theta = np.asarray(prior.sample(jr.key(0), (_DRAWS,)))
    lowest, highest = flow.conditions.range
    outside = ((theta < lowest) | (theta > highest)).mean(0)
    if (outside <= OUTSIDE).all():
        return
    parts = [
        f"{outside[i]:.0%} of theta{i} outside {lowest[i]:.4g} to {highest[i]:.4g}"
        for i in np.flatnonzero(outside > OUTSIDE)
    ]
    warnings.warn(
        f"The prior reaches outside the range of training: {', '.join(parts)}. The flow has "
        "learned nothing there. Train on parameters drawn from this prior, or narrow it.",
        OutsideTraining,
        stacklevel=4,
    )
