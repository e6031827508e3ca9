"""What looks wrong in a fit, in plain words: at its end, in Python and on its report's page.

Each check looks at numbers that the page shows anyway, and warns, passes, or returns ``None`` where
a system has no such numbers; none can prove that a fit is good. Thresholds are generous: a warning
should be worth reading.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mflows.verdict.evidence import Evidence, Points

OVERFIT_RATIO = 1.5  # mean distance, held-out over train
OVERFIT_NATS = 0.5  # mean log density, train minus held-out
TAIL_RATIO = 30.0  # max distance over mean distance
TAIL_SHARE = 0.2  # max distance over spread of the data: a thin tail is not a tear
COARSE_SHARE = 0.1  # mean distance over spread of the data
STRAY_SHARE = 0.02  # samples outside the range of the data
ROUNDING = 1e-5  # distance over spread below which it is rounding error, not a fit
LAST = 0.1  # of the epochs of a phase: where it should have settled
RISEN = 1.5  # last training loss of a manifold over the lowest
EARLY = 0.5  # of the epochs of a phase: the best one comes before
LEAST_EPOCHS = 8  # from which a curve says something
LEAST_ROWS = 50  # for each dimension of the manifold
NOT_SETTLED = "loss had not settled"  # what a note says of a phase that patience did not end
NOT_UNROLLED = "no better unrolled"  # what a note says of a shape that is closed, or noisy


class Doubt(UserWarning):
    """Something looks wrong in a fit."""


@dataclass(frozen=True)
class Warn:
    """One thing to look at: a short title and what it may mean."""

    title: str
    detail: str


class Passed:
    """A check that found nothing to look at."""


Found = Warn | Passed | None


def warnings_of(content: Evidence) -> list[Warn]:
    """Everything about ``content`` that deserves a second look; empty if nothing does."""
    return [found for found in checked(content).values() if isinstance(found, Warn)]


def checked(content: Evidence) -> dict[str, Warn | Passed]:
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


def _not_finite(content: Evidence) -> Found:
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


def _reconstruction_overfit(content: Evidence) -> Found:
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


def _density_overfit(content: Evidence) -> Found:
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


def _tail(content: Evidence) -> Found:
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


def _coarse(content: Evidence) -> Found:
    d = distances(content.held_out)
    if d is None or content.held_out is None:
        return None
    share = d.mean() / spread(content.held_out.x)
    if share < COARSE_SHARE:
        return Passed()
    why = (
        f"The data are a graph over no plane, and {NOT_UNROLLED}: the shape is closed, folded or "
        "noisy, and one chart does not cover it. A larger latent dimension may, or a prescribed "
        "manifold if it is one."
        if any(NOT_UNROLLED in note for note in content.notes)
        else "The latent dimension may be too small, or the manifold phase too short."
    )
    return Warn(
        "The manifold misses much of the data",
        f"The mean distance is {share:.0%} of the spread of the data. {why}",
    )


def _unsettled(content: Evidence) -> Found:
    if cut := [note for note in content.notes if NOT_SETTLED in note]:
        detail = f"{' '.join(cut)} Train longer, with more epochs."
        return Warn("The loss was still falling at the end", detail)
    return _of_phases(
        content,
        "validation",
        lambda name, losses: name if _falls(losses) else None,
        "The loss was still falling at the end",
        "In the last epochs of {} the validation loss fell as fast as on average. Train longer, "
        "with more epochs.",
    )


def _falls(losses: np.ndarray) -> bool:
    """Whether the last tenth of the epochs gained a tenth of all that was gained, or more."""
    if losses.min() > 0:
        losses = np.log(losses)
    late = max(round(LAST * len(losses)), 1)
    gained, lately = losses[0] - losses.min(), losses[:-late].min() - losses.min()
    return bool(gained > 0 and lately > LAST * gained)


def _risen(content: Evidence) -> Found:
    def risen(name: str, losses: np.ndarray) -> str | None:
        bad = "manifold" in name and losses.min() > 0 and losses[-1] > RISEN * losses.min()
        return name if bad else None

    return _of_phases(
        content,
        "train",
        risen,
        "Training got worse after its first epochs",
        "The reconstruction error of {} ended well above its lowest value: the manifold may be "
        "torn, as it is where data are closed or rolled up.",
    )


def _best_was_early(content: Evidence) -> Found:
    def early(name: str, losses: np.ndarray) -> str | None:
        best = int(losses.argmin()) + 1
        rose = losses[-1] - losses.min() > 0.1 * (losses[0] - losses.min())
        return f"epoch {best} of {len(losses)} in {name}" if was_early(losses) and rose else None

    return _of_phases(
        content,
        "validation",
        early,
        "The best epoch was early",
        "It was {}: what followed fitted the training points and not the others. The flow is that "
        "of the best epoch; fewer layers, or more data, may give a better one.",
    )


def was_early(losses: np.ndarray) -> bool:
    """Whether the lowest loss came in the first part of the epochs of a phase."""
    return len(losses) >= LEAST_EPOCHS and int(losses.argmin()) + 1 < EARLY * len(losses)


def _of_phases(
    content: Evidence,
    key: str,
    odd: Callable[[str, np.ndarray], str | None],
    title: str,
    detail: str,
) -> Found:
    """A check of the losses of every phase that is long enough; ``odd`` says which are."""
    curves: dict[str, list[float]] = {}
    for row in content.history:
        curves.setdefault(str(row["phase"]), []).append(row.get(key, np.nan))
    long = {name: np.array(losses, float) for name, losses in curves.items()}
    long = {k: v for k, v in long.items() if len(v) >= LEAST_EPOCHS and np.isfinite(v).all()}
    if not long:
        return None
    found = [each for name, losses in long.items() if (each := odd(name, losses))]
    return Warn(title, detail.format(", ".join(found))) if found else Passed()


def _few_rows(content: Evidence) -> Found:
    if content.train is None or content.latent_dim is None:
        return None
    rows, n = content.rows or len(content.train.x), content.latent_dim
    if rows >= LEAST_ROWS * n:
        return Passed()
    return Warn(
        "Few points",
        f"A manifold of dimension {n} was learned from {rows:,} points: what lies between them is "
        "a guess.",
    )


def _stray(content: Evidence) -> Found:
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


def _ill_conditioned(content: Evidence) -> Found:
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


CHECKS: dict[str, Callable[[Evidence], Found]] = {
    "values are finite": _not_finite,
    "distance on held-out against train": _reconstruction_overfit,
    "density on held-out against train": _density_overfit,
    "largest against mean distance": _tail,
    "distance against spread of the data": _coarse,
    "samples within the range of the data": _stray,
    "condition numbers against rounding": _ill_conditioned,
    "loss at the end of training": _unsettled,
    "training loss of the manifold": _risen,
    "epoch of the lowest loss": _best_was_early,
    "points for each dimension": _few_rows,
}
