"""Words about training data, before training: what is odd in them, and what is done about it."""

import warnings

import numpy as np

from mflows.charts import placement_of
from mflows.data import Data
from mflows.data.checks import plural
from mflows.data.moments import FEW, MANY_COLUMNS, moments
from mflows.flow import Flow

FAR = 1000.0
"""Rows farther from the bulk of a column, in its standard deviations, are left out of training."""
STEPS = 32
"""Standard deviation of a column, in steps of its numbers, below which it is not resolved."""
ORDER = 100.0
"""Conditions are of order 1 if mean over deviation, and the deviation, are within this factor."""
REPEATED = 0.5
"""Part of the rows that differ, below which a density may learn them by heart."""
FEW_ALIKE = 0.1
"""Effective part of the rows, by their weights, below which these are told to be few."""


class OddData(UserWarning):
    """Training data with few rows far away, of repeated rows, or with too few digits."""


def examined(flow: Flow, data: Data, held_out: Data | None) -> tuple[Data, Data | None]:
    """The data to train on and to judge by: less the rows that are far off in a column.

    Warns of these, of columns whose variance is made by few rows, of columns whose digits are lost,
    and of rows that are repeated.
    """
    if flow.conditions is None and data.condition is not None:
        _check_of_order_one(data)
    if (distinct := data.distinct()) < REPEATED:
        warnings.warn(
            f"Only {distinct:.1%} of the rows are different. A density may learn them by heart: "
            "its log_prob at these points then means little. Give more different rows.",
            OddData,
            stacklevel=3,
        )
    if (alike := data.effective_size) < FEW_ALIKE * len(data):
        warnings.warn(
            f"The weights differ so much that {len(data):,} rows tell no more than {alike:,.0f} "
            "that count alike. Simulate where the weights are large, or leave out rows of small "
            "weight.",
            OddData,
            stacklevel=3,
        )
    placement = placement_of(flow.chart)
    rows = data.sample(len(data), 0) if data.mapped else data
    if placement is None or rows.x.ndim != 2:
        return data, held_out
    centre, scale, dominated = moments(rows.x)
    _check_resolved(rows, centre, scale)
    reach = np.where(scale > 0, FAR * scale, np.inf)
    if held_out is not None and rows.x.shape[1] < MANY_COLUMNS:
        # Such a row may be there alone; many of them are another set of data.
        far = (np.abs(held_out.x[:] - centre) > reach).sum(axis=0)
        dominated |= (far > 0) & (far <= max(FEW * len(held_out), 1))
    if not dominated.any() or placement.tails is not None:
        return data, held_out
    reach = np.where(dominated, reach, np.inf)
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


def _check_of_order_one(data: Data) -> None:
    """Warn of conditions of odd size, for a flow that does not place them."""
    assert data.condition is not None
    centre, scale, _ = moments(data.condition[:])
    odd = (np.abs(centre) > ORDER * scale) | (scale > ORDER) | (scale * ORDER < 1)
    if odd.any():
        names = [name for name, bad in zip(data.condition_names, odd, strict=True) if bad]
        warnings.warn(
            f"The flow takes the condition as it is, and {plural(names)} is far from order 1. If "
            "networks see it, build the flow with conditions=mflows.conditions.Conditions.identity"
            "(shape of the condition), which fit places on the data.",
            OddData,
            stacklevel=4,
        )


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
        values.append(piece.x[far])
        start += len(piece)
    rows = np.concatenate(outside)
    return (data.without(rows) if len(rows) else data), np.concatenate(values)
