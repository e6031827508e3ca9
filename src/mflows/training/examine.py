"""Words about training data, before training: what is odd in them, and what is done about it."""

import warnings

import numpy as np

from mflows.charts import placement_of
from mflows.data import Data
from mflows.data.checks import plural
from mflows.data.moments import FEW, moments
from mflows.flow import Flow

FAR = 1000.0
"""Rows farther from the bulk of a column, in its standard deviations, are left out of training."""
STEPS = 32
"""Standard deviation of a column, in steps of its numbers, below which it is not resolved."""
REPEATED = 0.5
"""Part of the rows that differ, below which a density may learn them by heart."""


class OddData(UserWarning):
    """Training data with few rows far away, of repeated rows, or with too few digits."""


def examined(flow: Flow, data: Data, held_out: Data | None) -> tuple[Data, Data | None]:
    """The data to train on and to judge by: less the rows that are far off in a column.

    Warns of these, of columns whose variance is made by few rows, of columns whose digits are lost,
    and of rows that are repeated.
    """
    rows = data.sample(len(data), 0) if data.mapped else data
    if placement_of(flow.chart) is None or rows.x.ndim != 2:
        return data, held_out
    every = rows.x if held_out is None else np.concatenate([rows.x, held_out.x[:]])
    centre, scale, dominated = moments(every)
    _check_resolved(rows, centre, scale)
    different = data.different()
    if different < REPEATED * len(rows):
        warnings.warn(
            f"Only {different:,} of {len(rows):,} rows are different. A density may learn them by "
            "heart: its log_prob at these points then means little. Give more different rows.",
            OddData,
            stacklevel=3,
        )
    placement = placement_of(flow.chart)
    if not dominated.any() or (placement is not None and placement.tails is not None):
        return data, held_out
    reach = np.where(dominated, FAR * scale, np.inf)
    data, gone = _within(data, centre, reach)
    if held_out is not None:
        held_out, more = _within(held_out, centre, reach)
        gone = np.concatenate([gone, more])
    left_out = (
        f" Those with values more than {FAR:,.0f} standard deviations off ({len(gone):,} values, "
        f"the first is {gone[0]:.6g}) are left out of training."
        if len(gone)
        else ""
    )
    names = [name for name, few in zip(data.names, dominated, strict=True) if few]
    warnings.warn(
        f"At most {FEW:.0%} of the rows make most of the variance of {plural(names)}, scaled by "
        f"quantiles instead.{left_out} Are these rows right? If they are, and the tails are heavy, "
        "fit with tails=True (command line: --tails).",
        OddData,
        stacklevel=3,
    )
    return data, held_out


def _check_resolved(rows: Data, centre: np.ndarray, scale: np.ndarray) -> None:
    """Warn of columns that vary by a few steps of their numbers only."""
    steps = np.abs(centre) * np.finfo(rows.x.dtype).eps
    lost = (rows.x.max(0) > rows.x.min(0)) & (scale < STEPS * steps)
    if not lost.any():
        return
    first = int(np.flatnonzero(lost)[0])
    names = [name for name, bad in zip(rows.names, lost, strict=True) if bad]
    warnings.warn(
        f"The digits of {plural(names)} are lost: {names[0]!r} has standard deviation "
        f"{scale[first]:.3g} around {centre[first]:.10g}, where {rows.x.dtype} numbers are "
        f"{steps[first]:.3g} apart. Take the offset off before the file is written, or write "
        "float64.",
        OddData,
        stacklevel=4,
    )


def _within(data: Data, centre: np.ndarray, reach: np.ndarray) -> tuple[Data, np.ndarray]:
    """The rows within reach, and the values of those that are not."""
    outside, values, start = [], [], 0
    for piece in data.pieces() if data.mapped else [data]:
        far = np.abs(piece.x - centre) > reach
        outside.append(start + np.flatnonzero(far.any(axis=1)))
        values.append(np.asarray(piece.x[far.any(1)], dtype=np.float64)[far[far.any(1)]])
        start += len(piece)
    rows = np.concatenate(outside)
    return (data.without(rows) if len(rows) else data), np.concatenate(values)
