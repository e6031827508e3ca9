r"""Objectives: what a phase minimises, as objects ``(flow, batch, key) -> scalar``.

Objectives are frozen dataclasses, so that equal ones share compiled training loops.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Scalar
from paramax import unwrap

from mflows.charts import condition_for, placement_of
from mflows.training.phases import Batch, Supervised
from mflows.volume import Auto, Volume


def scale_of(flow):
    """The units of the chart's placement, the standard deviations of the data; 1 without one."""
    placement = placement_of(unwrap(flow.chart))
    return 1.0 if placement is None else placement.scale


@dataclass(frozen=True)
class Reconstruction:
    r"""Mean squared reconstruction error in scaled units, D^-1 sum_j ((x - g(e(x)))_j / s_j)^2.

    s is the scale of the chart's placement, the standard deviation of the training data, so that
    features in different units count alike (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 3.2).
    """

    def __call__(self, flow, batch: Batch, key):
        projected = jax.vmap(unwrap(flow.chart).project)(batch.x, batch.condition)
        return jnp.mean(jnp.square((batch.x - projected) / scale_of(flow)))


@dataclass(frozen=True)
class Regression:
    r"""Misfit of a padded bijection f to known coordinates u, in both directions.

    |f^-1(x) - (u, 0)|^2 + |(f(u, 0) - x) / s|^2
    """

    def __call__(self, flow, batch: Supervised, key):
        chart = unwrap(flow.chart)
        scale = scale_of(flow)

        def misfit(x, condition, u):
            code = chart.bijection.inverse(x, condition_for(chart, condition))
            decoded = chart.decode(u, condition)
            there = jnp.square(code - chart.inner.decode(u)).sum()
            return there + jnp.square((decoded - x) / scale).sum()

        return jax.vmap(misfit)(*batch).mean()


@dataclass(frozen=True)
class AnchoredReconstruction:
    """Reconstruction that holds on to the coordinates of an unrolled chart.

    Reconstruction error plus ``anchor`` times the misfit to the coordinates which the chart gave
    the data when the phase began. Reconstruction alone soon tears what was unrolled.
    """

    anchor: float = 0.1

    def prepare(self, flow, batch: Batch) -> Supervised:
        """Note the coordinates that the data have now."""
        u = flow.encode(batch.x, batch.condition)
        return Supervised(batch.x, batch.condition, u)

    def __call__(self, flow, batch: Supervised, key):
        points = Batch(batch.x, batch.condition)
        held = Regression()(flow, batch, key)
        return Reconstruction()(flow, points, key) + self.anchor * held / batch.x[0].size


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """Mean of -log p(x): of a bijection, or jointly of chart and latent density."""

    def __call__(self, flow, batch: Batch, key):
        flow = unwrap(flow)
        return -jnp.mean(jax.vmap(flow._log_prob)(batch.x, batch.condition))


@dataclass(frozen=True)
class ReconstructionAndLikelihood:
    """``weight`` times the reconstruction error plus the mean of -log p(x) on the manifold.

    The likelihood of a learned manifold alone is ill-posed: many manifolds fit equally well. The
    reconstruction error has to hold it on the data (Brehmer & Cranmer 2020, sec. 3.2). It ends
    below 1e-6, hence the large weight.

    Args:
        weight: Weight of the reconstruction error.
        volume: Method for the log-volume in training; epochs are judged by the exact one.
    """

    weight: float = 1e5
    volume: Volume = field(default_factory=Auto)

    def __call__(self, flow, batch: Batch, key):
        return self._loss(flow, batch, key, self.volume)

    def validate(self, flow, batch: Batch, key):
        """The same with exact log-volumes."""
        return self._loss(flow, batch, key, Auto())

    def _loss(self, flow, batch: Batch, key, volume: Volume):
        flow, scale = unwrap(flow), scale_of(flow)

        def of_point(x, condition, key):
            u = flow.chart.encode(x, condition)
            projected, log_volume = volume.decode_and_log_volume(flow.chart, u, condition, key)
            error = jnp.mean(jnp.square((x - projected) / scale))
            return self.weight * error + log_volume - flow.latent_log_prob(u, condition)

        keys = jr.split(key, batch.x.shape[0])
        return jnp.mean(jax.vmap(of_point)(batch.x, batch.condition, keys))


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


@dataclass(frozen=True)
class ReverseKL:
    r"""KL divergence from the flow to a target with known density, up to a constant.

    mean of log q(x) - log p(x),   x ~ q the flow

    For targets that can be evaluated and not sampled. The flow draws its own points: of the data
    only their number and conditions count. Modes that the flow has not found it does not miss.

    Args:
        log_target: Logarithm of the target's density, up to a constant, of one point; with respect
            to volume on the manifold.
    """

    log_target: Callable[[Array], Scalar]

    def __call__(self, flow, batch: Batch, key):
        flow = unwrap(flow)
        keys = jr.split(key, batch.x.shape[0])
        x, log_prob = jax.vmap(flow._sample_and_log_prob)(keys, batch.condition)
        return jnp.mean(log_prob - jax.vmap(self.log_target)(x))
