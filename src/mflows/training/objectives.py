r"""Objectives: what a phase minimises, as objects ``(flow, batch, key) -> scalar``.

Objectives are frozen dataclasses, so that equal ones share compiled training loops.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from paramax import unwrap

from mflows.charts import placement_of
from mflows.training.phase import Batch


@dataclass(frozen=True)
class Reconstruction:
    r"""Mean squared reconstruction error in scaled units, D^-1 sum_j ((x - g(e(x)))_j / s_j)^2.

    s is the scale of the chart's placement, the standard deviation of the training data, so that
    features in different units count alike (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 3.2).
    """

    def __call__(self, flow, batch: Batch, key):
        chart = unwrap(flow.chart)
        placement = placement_of(chart)
        scale = 1.0 if placement is None else placement.scale
        projected = jax.vmap(chart.project)(batch.x, batch.condition)
        return jnp.mean(jnp.square((batch.x - projected) / scale))


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """Mean of -log p(x): of a bijection, or jointly of chart and latent density."""

    def __call__(self, flow, batch: Batch, key):
        flow = unwrap(flow)
        return -jnp.mean(jax.vmap(flow._log_prob)(batch.x, batch.condition))


@dataclass(frozen=True)
class LatentNegativeLogLikelihood:
    r"""Mean of -log p_U(e(x)): the density phase with a frozen chart.

    The chart being frozen, its log-volume is a constant and the data are encoded once; the cost of
    the phase does not depend on D.
    """

    def prepare(self, flow, batch: Batch) -> Batch:
        """Replace x by its latent coordinates."""
        return Batch(flow.encode(batch.x, batch.condition), batch.condition)

    def __call__(self, flow, batch: Batch, key):
        flow = unwrap(flow)
        return -jnp.mean(jax.vmap(flow.latent_log_prob)(batch.x, batch.condition))
