r"""Where training starts: chosen from data, once, before the epochs of a phase.

The chart starts as the identity, so its manifold starts as the plane of the first n axes of the
placement, and reconstruction learns the rest when the data are a graph over that plane.
``place_chart`` looks for such a plane. Where there is none, on a rolled sheet, reconstruction would
tear the manifold; then ``unroll`` deepens the chart and first fits it to an unrolled copy of the
data (see ``mflows.geometry.geodesics``). Whether such a fit tears is decided by the initial weights
and shows early, in its largest error: candidates are tried for a few steps, and those that are not
torn go on with smaller ones, until one is whole. What is decided, and why, is logged: progress as
DEBUG, decisions as INFO, which ``fit`` shows and keeps.
"""

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray
from paramax import unwrap

from mflows.charts import Placement, is_padded, place, placement_of, placements_of
from mflows.data.moments import moments
from mflows.flow import Flow
from mflows.geometry import (
    NO_PLANE,
    choose_plane,
    conflict,
    geodesic_embedding,
    in_company,
    overlap,
    principal_axes,
    rows_for,
    turn_towards,
    unrolls,
)
from mflows.layers.tails import tail_indices
from mflows.models import BUILDERS, rebuild
from mflows.training.epoch import begin
from mflows.training.objectives import Regression
from mflows.training.phases import Batch, Phase, Supervised
from mflows.training.rows import Rows
from mflows.verdict.checks import NOT_UNROLLED

log = logging.getLogger(__name__)

BOLD = Phase(Regression(), ("chart",), epochs=1, name="unroll", weight_decay=0.0, clip=5.0)
CAREFUL = replace(BOLD, learning_rate=3e-4, clip=0.5)
DEEP, WIDE = 16, 64
"""Layers of a chart that has to unroll its data, and width of its networks, at least."""
SHORT, LONG = 600, 2500
"""Steps of the regression: bold ones of every candidate, careful ones of those not torn."""
CONSTANT = 1_000_000
"""Steps of a decay so long that the learning rate stays what it is."""
CANDIDATES, CAREFULLY = 12, 4
"""Candidates at most, and those of them that go on with careful steps."""
EMBEDDED = 10_000
"""Points of which an unrolled copy is made, at most."""
TORN, WHOLE = 0.5, 0.2
"""Largest errors: above the first a candidate is torn, below the second a regressed chart is whole;
in standard deviations."""
POINTS = 2000
"""Points on which a plane and an embedding are judged."""


def place_chart(key: PRNGKeyArray, flow: Flow, batch: Batch) -> Flow:
    """Centre and scale the chart on the data and turn it to the best starting plane."""
    old = placements_of(flow.chart)
    if not old:
        return flow
    placement = _standardisation(old, np.asarray(batch.x))
    n = getattr(flow.latent, "latent_dim", 0) if flow.is_ambient else flow.latent_dim
    if placement.plane_dim and n < batch.x[0].size:
        z = _standardised(placement, batch.x)
        placement = _turned(placement, z, n, lambda y: _plane(key, y, n))
    return _placed(flow, "chart", placement)


def place_latent(key: PRNGKeyArray, flow: Flow, batch: Batch) -> Flow:
    """Centre and scale the latent density on the encoded data."""
    old = placements_of(flow.latent)
    if not old:
        return flow
    u = np.asarray(flow.encode(batch.x, batch.condition))
    return _placed(flow, "latent", _standardisation(old, u))


def flat_or_rolled(
    keys: Sequence[PRNGKeyArray],
    flow: Flow,
    batch: Batch,
    *,
    candidates: int | None = None,
    steps: int | None = None,
) -> tuple[Literal[0, 1], Flow]:
    """Choose between phases for data that are flat (0) and rolled (1), and start the one chosen.

    The chart is placed; of rolled data it is then fitted to an unrolled copy. Rolled are those
    that are a graph over no plane, but a flat sheet by their geodesic distances. At most so many
    ``candidates`` are tried, by default ``CANDIDATES``, each for so many bold ``steps``, by default
    ``SHORT``.
    """
    placed = place_chart(keys[0], flow, batch)
    copy = unrolled_copy(placed, batch)
    if copy is None:
        return 0, placed
    return 1, _unroll(keys[1], placed, copy, candidates or CANDIDATES, steps or SHORT)


def unroll(key: PRNGKeyArray, flow: Flow, batch: Batch) -> Flow:
    """Deepen a placed chart and fit it to an unrolled copy of the data; not if they are flat."""
    copy = unrolled_copy(flow, batch)
    return flow if copy is None else _unroll(key, flow, copy, CANDIDATES, SHORT)


def _unroll(
    key: PRNGKeyArray, flow: Flow, supervised: Supervised, candidates: int, steps: int
) -> Flow:
    placement = placement_of(flow.chart)
    assert placement is not None
    z = _standardised(placement, supervised.x)
    u = np.asarray(supervised.u)
    placement = _turned(placement, z, u.shape[1], lambda y: turn_towards(y, u))
    best, least, careful = flow, np.inf, 0
    for attempt in range(candidates):
        tried = f", largest error so far {least:.2g}" if attempt else ""
        log.debug("unrolling, attempt %d of %d%s", attempt + 1, candidates, tried)
        weights_key, bold_key, careful_key = jr.split(jr.fold_in(key, attempt), 3)
        trial = _placed(_fresh(weights_key, flow), "chart", placement)
        trial = _regressed(bold_key, trial, supervised, BOLD, steps, decay=False)
        if (error := _largest_error(trial, supervised)) < TORN:
            trial = _regressed(careful_key, trial, supervised, CAREFUL, LONG, decay=True)
            error, careful = _largest_error(trial, supervised), careful + 1
        if error < least:  # never a NaN
            best, least = trial, error
        if least < WHOLE:
            log.info("Unrolled in %d attempts; largest error %.2g.", attempt + 1, least)
            return best
        if careful == CAREFULLY:
            break
    warnings.warn(
        f"None of {attempt + 1} attempts to unroll the data was whole (largest error {least:.2g} "
        f"standard deviations; wanted {WHOLE:g}): the manifold may be torn. Try another seed or "
        "more points.",
        stacklevel=2,
    )
    return best


def _largest_error(flow: Flow, data: Supervised) -> float:
    """Largest reconstruction error, in standard deviations."""
    projected = flow.project(data.x, data.condition)
    return float(jnp.linalg.norm(_scaled(flow, data.x) - _scaled(flow, projected), axis=1).max())


def _fresh(key: PRNGKeyArray, flow: Flow) -> Flow:
    """A flow like this one, with new weights and a deep chart; itself if its builder makes none."""
    name, arguments = flow.built or ("", "{}")
    given = json.loads(arguments)
    if name not in BUILDERS or not {"chart_layers", "width"} <= given.keys():
        return flow
    layers, width = max(given["chart_layers"], DEEP), max(given["width"], WIDE)
    return rebuild(key, (name, arguments), chart_layers=layers, width=width).own()


def _regressed(
    key: PRNGKeyArray, flow: Flow, data: Supervised, phase: Phase, steps: int, *, decay: bool
) -> Flow:
    """The chart after about so many steps of regression, with a decaying rate or a constant one."""
    points = data.x.shape[0]
    size = min(phase.batch_size, points)
    epochs = -(-steps // (points // size))
    phase = replace(phase, batch_size=size, epochs=epochs)
    loop, state = begin(key, flow, phase, Rows(data), None if decay else CONSTANT)
    for epoch in range(epochs):
        state, _ = loop.epoch(state, epoch)
    return loop.flow(state.parameters)


def unrolled_copy(flow: Flow, batch: Batch) -> Supervised | None:
    """Points with coordinates of an unrolled copy; ``None`` if the chart's plane serves as well."""
    chart = flow.chart
    if not is_padded(chart) or placement_of(chart) is None or chart.cond_shape is not None:
        return None
    z = np.asarray(_scaled(flow, batch.x))
    n = flow.latent_dim
    judged = z[np.linspace(0, len(z) - 1, min(POINTS, len(z))).astype(int)]
    judged = judged[in_company(judged)]
    plane = conflict(judged, judged[:, :n])
    if plane <= NO_PLANE:
        log.info("A graph over a plane (conflict %.2g, at most %g): not unrolled.", plane, NO_PLANE)
        return None
    log.debug("looking for an unrolled copy")
    kept = np.linspace(0, len(z) - 1, min(EMBEDDED, len(z))).astype(int)
    kept = kept[in_company(z[kept])]
    indices, u = geodesic_embedding(jr.key(0), z[kept], n)
    indices = kept[indices]
    some = slice(POINTS)
    unrolled = conflict(z[indices[some]], u[some])
    if not unrolls(plane, unrolled):
        log.info(
            "A graph over no plane (conflict %.2g), and %s (%.2g), as closed and noisy shapes are.",
            plane,
            NOT_UNROLLED,
            unrolled,
        )
        return None
    log.info("A graph over no plane (conflict %.2g), but unrolled (%.2g).", plane, unrolled)
    if overlap(z[indices], u) > 2 * TORN:  # every candidate would be torn
        warnings.warn(
            "The data are a graph over no plane: they are rolled up, and too sparsely sampled or "
            "closed for unrolling, so that the manifold may be torn; more points help.",
            stacklevel=2,
        )
        return None
    condition = None if batch.condition is None else batch.condition[indices]
    return Supervised(batch.x[indices], condition, jnp.asarray(u, dtype=float))


def _scaled(flow: Flow, x):
    """Data in the coordinates of the chart's placements, shape (N, D)."""
    for placement in reversed(placements_of(flow.chart)):
        x = _unplaced(placement, jnp.asarray(x))
    return x.reshape(len(x), -1)


@eqx.filter_jit
def _scaled_only(placement, x):
    return jax.vmap(unwrap(placement).scaled)(x)[0]


@eqx.filter_jit
def _unplaced(placement, x):
    return jax.vmap(unwrap(placement).inverse)(x)


def _standardised(placement: Placement, x) -> np.ndarray:
    """Data of mean zero and comparable scales, shape (N, D), not yet turned."""
    return np.asarray(_scaled_only(placement, jnp.asarray(x))).reshape(len(x), -1)


def _standardisation(old: Sequence[Placement], x: np.ndarray) -> Placement:
    """The placement of the data, of the form of those that it replaces, on the first axes.

    The pixels of images share one scale: one that hardly ever varies counts little.
    """
    found, tails = moments(x), old[-1].tails is not None
    centre, scale = found.centre, found.unit(x.dtype)
    if x.ndim > 2:
        scale = np.full_like(scale, np.sqrt(np.mean(np.square(found.scale))) or 1.0)
    indices = tail_indices((x - centre) / scale) if tails else None
    return Placement(centre, scale, np.eye(old[0].plane_dim, x[0].size), indices)


def _plane(key: PRNGKeyArray, z: np.ndarray, n: int) -> np.ndarray:
    return choose_plane(key, z, n).frame if n else np.zeros((0, z.shape[1]))


def _directions(z: np.ndarray, count: int) -> np.ndarray:
    """So many orthonormal directions, of which the first are those in which the data vary most."""
    wanted = rows_for(len(z[0]), max(POINTS, 4 * count))
    some = z[np.linspace(0, len(z) - 1, min(wanted, len(z))).astype(int)].astype(float)
    axes = principal_axes(some)[:count]
    if len(axes) < min(some.shape) and len(axes) == count:
        held = np.square(some @ axes.T).sum() / np.square(some).sum()
        log.info(
            "The flow bends in %d of %d directions, which hold %.3g%% of the variance "
            "(the setting rank gives another number).",
            count,
            len(z[0]),
            100 * held,
        )
    return _completed(axes, count)


def _completed(frame: np.ndarray, count: int) -> np.ndarray:
    """Orthonormal rows, shape (count, D), that begin with those of a frame and go on at random."""
    rest = np.random.default_rng(0).normal(size=(count - len(frame), frame.shape[1]))
    turned, signs = np.linalg.qr(np.concatenate([frame, rest]).T)
    return (turned * np.where(np.diag(signs) < 0, -1, 1)).T


def _turned(
    placement: Placement, z: np.ndarray, n: int, plane_of: Callable[[np.ndarray], np.ndarray]
) -> Placement:
    """A placement on a plane of the standardised data, of dimension n.

    A chart that bends in some directions only has the plane among those in which the data vary
    most, and is then placed on all of these.
    """
    if placement.plane_dim == n:
        plane = plane_of(z)
    else:
        axes = _directions(z, placement.plane_dim)
        y = z @ axes.T
        plane = plane_of(y)
        others = principal_axes(y - y @ plane.T @ plane)[: len(axes) - n]
        plane = _completed(np.concatenate([plane, others]), len(axes)) @ axes
    tails = None if placement.tails is None else placement.tails.tree
    return Placement(placement.centre, placement.scale.tree, plane, tails)


def _placed(flow: Flow, part: str, placement: Placement) -> Flow:
    return eqx.tree_at(lambda f: getattr(f, part), flow, place(getattr(flow, part), placement))
