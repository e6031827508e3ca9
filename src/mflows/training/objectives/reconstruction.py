"""Objectives of the manifold: how far points lie from it, in units of the data's spread."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from paramax import unwrap

from mflows.charts import condition_for, placement_of, unplaced
from mflows.training.phases import Batch, Supervised

MANY = 1000
"""Numbers of a point from which on its placement takes most of a step."""


def scale_of(flow):
    """The units of the chart's placement, the standard deviations of the data; 1 without one."""
    placement = placement_of(unwrap(flow.chart))
    return 1.0 if placement is None else placement.scale


def scaled_error(flow, x, projected):
    """X - g(e(x)) of one point in scaled units, and without the tails that columns may have."""
    placement = placement_of(unwrap(flow.chart))
    if placement is None or placement.tails is None:
        return (x - projected) / scale_of(flow)
    return placement.scaled(x)[0] - placement.scaled(projected)[0]


@dataclass(frozen=True)
class Reconstruction:
    r"""Mean squared reconstruction error in scaled units, D^-1 sum_j ((x - g(e(x)))_j / s_j)^2.

    s is the scale of the chart's placement, the standard deviation of the training data, so that
    features in different units count alike (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 3.2).
    Epochs are judged by the same, but no point counts for more than 1, as much as without any
    manifold: one far out, which the chart happens to send farther, would decide otherwise.
    """

    centred: ClassVar = True

    def __call__(self, flow, batch: Batch, key):
        return jnp.mean(self._squares(flow, batch))

    def validate(self, flow, batch: Batch, key):
        """What epochs are judged by."""
        squares = self._squares(flow, batch)
        return jnp.minimum(squares.reshape(len(squares), -1).mean(axis=1), 1.0).mean()

    def _squares(self, flow, batch: Batch):
        """Squares of the errors in standard deviations.

        Of many numbers they are taken before the placement, whose turn keeps lengths: to go
        through it twice, and back for the gradient, would be most of the time of a step.
        """
        whole = unwrap(flow.chart)
        chart, placement = unplaced(whole)

        def error(x, condition):
            if placement is None or x.size < MANY:
                return scaled_error(flow, x, whole.project(x, condition))
            z = placement.inverse(x)
            return z - chart.project(z, condition)

        return jnp.square(jax.vmap(error)(batch.x, batch.condition))


@dataclass(frozen=True)
class Regression:
    r"""Misfit of a padded bijection f to known coordinates u, in both directions.

    |f^-1(x) - (u, 0)|^2 + |(f(u, 0) - x) / s|^2
    """

    centred: ClassVar = True

    def __call__(self, flow, batch: Supervised, key):
        chart = unwrap(flow.chart)

        def misfit(x, condition, u):
            code = chart.bijection.inverse(x, condition_for(chart, condition))
            decoded = chart.decode(u, condition)
            there = jnp.square(code - chart.inner.decode(u)).sum()
            return there + jnp.square(scaled_error(flow, decoded, x)).sum()

        return jax.vmap(misfit)(*batch).mean()


@dataclass(frozen=True)
class AnchoredReconstruction:
    """Reconstruction that holds on to the coordinates of an unrolled chart.

    Reconstruction error plus ``anchor`` times the misfit to the coordinates which the chart gave
    the data when the phase began. Reconstruction alone soon tears what was unrolled.
    """

    centred: ClassVar = True
    anchor: float = 0.1

    def prepare(self, flow, batch: Batch) -> Supervised:
        """Note the coordinates that the data have now."""
        u = flow.encode(batch.x, batch.condition)
        return Supervised(batch.x, batch.condition, u)

    def __call__(self, flow, batch: Supervised, key):
        points = Batch(batch.x, batch.condition)
        held = Regression()(flow, batch, key)
        return Reconstruction()(flow, points, key) + self.anchor * held / batch.x[0].size
