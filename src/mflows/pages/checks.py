"""What looks wrong in a run, in plain words.

Each check looks at numbers that the page shows anyway, and warns, passes, or returns ``None`` where
a system has no such numbers; none can prove that a fit is good. Thresholds are generous: a warning
should be worth reading.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mflows.pages.content import Content, Points

OVERFIT_RATIO = 1.5  # mean distance, held-out over train
OVERFIT_NATS = 0.5  # mean log density, train minus held-out
TAIL_RATIO = 30.0  # max distance over mean distance
TAIL_SHARE = 0.2  # max distance over spread of the data: a thin tail is not a tear
COARSE_SHARE = 0.1  # mean distance over spread of the data
STRAY_SHARE = 0.02  # samples outside the range of the data
ROUNDING = 1e-5  # distance over spread below which it is rounding error, not a fit


@dataclass(frozen=True)
class Warn:
    """One thing to look at: a short title and what it may mean."""

    title: str
    detail: str


class Passed:
    """A check that found nothing to look at."""


Found = Warn | Passed | None


def warnings_of(content: Content) -> list[Warn]:
    """Everything about ``content`` that deserves a second look; empty if nothing does."""
    return [found for found in checked(content).values() if isinstance(found, Warn)]


def checked(content: Content) -> dict[str, Warn | Passed]:
    """What the checks that apply to ``content`` found, by the name of the check."""
    every = {name: check(content) for name, check in CHECKS.items()}
    return {name: found for name, found in every.items() if found is not None}


def spread(x: np.ndarray) -> float:
    """Root mean squared distance of points, shape ``(N, *shape)``, from their mean."""
    return float(np.sqrt(np.var(finite(x), axis=0).sum())) if len(finite(x)) else 0.0


def finite(a: np.ndarray) -> np.ndarray:
    """Rows (or entries) of ``a`` that are finite throughout."""
    return a[np.isfinite(a).reshape(len(a), -1).all(axis=1)] if a.size else a


def distances(points: Points | None) -> np.ndarray | None:
    """Finite distances, or ``None`` if there are none or they are nothing but rounding error."""
    if points is None or points.distance is None:
        return None
    d = finite(points.distance)
    return d if len(d) and d.mean() > ROUNDING * spread(points.x) else None


def _not_finite(content: Content) -> Found:
    arrays: dict[str, np.ndarray | None] = {
        "model samples": content.samples,
        "latent coordinates": content.latent,
    }
    for name, points in (("train", content.train), ("held-out", content.held_out)):
        if points is not None:
            arrays[f"{name} points"] = points.x
            arrays[f"{name} log densities"] = points.log_prob
            arrays[f"{name} distances"] = points.distance
    bad = [
        f"{len(a) - len(finite(a)):,} of {len(a):,} {name}"
        for name, a in arrays.items()
        if a is not None and len(finite(a)) < len(a)
    ]
    bad += [
        f"{int((~np.isfinite(m.log_prob)).sum()):,} of {m.log_prob.size:,} vertices of the {which}"
        for view in content.views
        for which, m in (("learned manifold", view.model), ("true manifold", view.truth))
        if m is not None and not np.isfinite(m.log_prob).all()
    ]
    epochs = [row.get(k) for row in content.history for k in ("train", "validation")]
    if lost := sum(v is not None and not np.isfinite(v) for v in epochs):
        bad.append(f"{lost:,} losses in the history")
    if not bad:
        return Passed()
    return Warn(
        "Values that are not finite", f"{'; '.join(bad)}. They are left out of the figures."
    )


def _reconstruction_overfit(content: Content) -> Found:
    train, held = distances(content.train), distances(content.held_out)
    if train is None or held is None:
        return None
    if held.mean() < OVERFIT_RATIO * train.mean():
        return Passed()
    return Warn(
        "Held-out points lie further from the manifold",
        f"Their mean distance is {held.mean() / train.mean():.1f} times that of the training "
        "points: the manifold follows the training set. More data, fewer layers or earlier "
        "stopping may help.",
    )


def _density_overfit(content: Content) -> Found:
    sets = (content.train, content.held_out)
    logs = [finite(p.log_prob) for p in sets if p is not None and p.log_prob is not None]
    if len(logs) < 2 or not all(map(len, logs)):
        return None
    gap = logs[0].mean() - logs[1].mean()
    error = np.sqrt(sum(a.var() / len(a) for a in logs))
    if gap < OVERFIT_NATS or gap < 4 * error:
        return Passed()
    return Warn(
        "Density is lower on held-out points",
        f"Mean log density is {gap:.2f} nats lower than on the training points: "
        "the density follows the training set.",
    )


def _tail(content: Content) -> Found:
    points = content.train if distances(content.held_out) is None else content.held_out
    d = distances(points)
    if points is None or d is None or len(d) < 20:
        return None
    if d.max() < max(TAIL_RATIO * d.mean(), TAIL_SHARE * spread(points.x)):
        return Passed()
    return Warn(
        "A few points are reconstructed far worse than the rest",
        f"The largest distance is {d.max() / d.mean():.0f} times the mean: the chart may fold or "
        "tear there, or the points are outliers. Look for them in the distance figures.",
    )


def _coarse(content: Content) -> Found:
    d = distances(content.held_out)
    if d is None or content.held_out is None:
        return None
    share = d.mean() / spread(content.held_out.x)
    if share < COARSE_SHARE:
        return Passed()
    return Warn(
        "The manifold misses much of the data",
        f"The mean distance is {share:.0%} of the spread of the data. The latent dimension may be "
        "too small, or the manifold phase too short.",
    )


def _stray(content: Content) -> Found:
    data = content.held_out or content.train
    if content.samples is None or data is None or not len(finite(data.x)):
        return None
    samples, x = finite(content.samples), finite(data.x)
    low, high = x.min(axis=0), x.max(axis=0)
    room = 0.1 * (high - low)
    out = ((samples < low - room) | (samples > high + room)).reshape(len(samples), -1).any(axis=1)
    if not len(samples) or out.mean() < STRAY_SHARE:
        return Passed()
    return Warn(
        "Samples where there are no data",
        f"{out.mean():.1%} of the model's samples lie outside the range of the data "
        "by more than a tenth of that range in at least one coordinate.",
    )


def _ill_conditioned(content: Content) -> Found:
    if content.conditioning is None:
        return None
    doubtful = content.conditioning.doubtful
    if not doubtful.any():
        return Passed()
    return Warn(
        "The chart is ill-conditioned",
        f"At {doubtful.sum():,} of {len(doubtful):,} held-out points it stretches one direction so "
        "much more than another that rounding may change log_prob by .01 nats and more. Fit with "
        "--precision float64; where that is done already, with fewer latent dimensions.",
    )


CHECKS: dict[str, Callable[[Content], Found]] = {
    "values are finite": _not_finite,
    "distance on held-out against train": _reconstruction_overfit,
    "density on held-out against train": _density_overfit,
    "largest against mean distance": _tail,
    "distance against spread of the data": _coarse,
    "samples within the range of the data": _stray,
    "condition numbers against rounding": _ill_conditioned,
}
