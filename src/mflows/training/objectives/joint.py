r"""Reconstruction and likelihood together, w |(x - g(e(x))) / s|^2 / D - log p(x), in four forms.

s are the standard deviations of the data. The likelihood of a learned manifold alone is ill-posed:
many manifolds fit equally well. The reconstruction error has to hold it on the data (Brehmer &
Cranmer 2020, arXiv 2003.13913, sec. 3.2). The forms differ in what they make of the log-volume.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from matfree.stochtrace import sampler_sphere
from paramax import unwrap

from mflows.training.objectives.reconstruction import Reconstruction, scale_of, scaled_error
from mflows.training.phases import Batch
from mflows.volume import Auto, Volume, gradient_of, length, surrogate


@dataclass(frozen=True)
class ReconstructionAndLikelihood:
    """``weight`` times the reconstruction error plus the mean of -log p(x) on the manifold.

    The reconstruction error ends below 1e-6, hence the large weight.

    Args:
        weight: Weight of the reconstruction error.
        volume: Method for the log-volume in training; epochs are judged by the exact one.
    """

    centred: ClassVar = True
    weight: float = 1e5
    volume: Volume = field(default_factory=Auto)

    def __call__(self, flow, batch: Batch, key):
        return self._loss(flow, batch, key, self.volume)

    def validate(self, flow, batch: Batch, key):
        """The same with exact log-volumes."""
        return self._loss(flow, batch, key, Auto())

    def _loss(self, flow, batch: Batch, key, volume: Volume):
        flow = unwrap(flow)

        def of_point(x, condition, key):
            u = flow.chart.encode(x, condition)
            projected, log_volume = volume.decode_and_log_volume(flow.chart, u, condition, key)
            error = jnp.mean(jnp.square(scaled_error(flow, x, projected)))
            return self.weight * error + log_volume - flow.latent_log_prob(u, condition)

        keys = jr.split(key, batch.x.shape[0])
        return jnp.mean(jax.vmap(of_point)(batch.x, batch.condition, keys))


@dataclass(frozen=True)
class Canonical:
    r"""Canonical manifold flows (Flouris & Konukoglu 2023, arXiv 2310.12743).

    Coordinates of a manifold are free to shear: many charts have the same manifold and density.
    ``penalty`` times sum_{i != j} |G_ij| is added, the off-diagonal elements of the pullback metric
    G = J^T J in scaled units, so that coordinates become orthogonal. Directions of latent space
    then mean something on their own, and Hadamard's bound of the log-volume becomes tight.
    """

    centred: ClassVar = True
    weight: float = 1e5
    penalty: float = 1.0

    def __call__(self, flow, batch: Batch, key):
        both = ReconstructionAndLikelihood(self.weight)(flow, batch, key)
        return both + self.penalty * jnp.mean(shear(flow, batch))


def shear(flow, batch: Batch):
    """Sum of the absolute off-diagonal elements of G at each point's projection, shape (N,)."""
    flow, scale = unwrap(flow), scale_of(flow)

    def of_point(x, condition):
        u = flow.chart.encode(x, condition)
        frame = jnp.eye(flow.latent_dim, dtype=u.dtype)
        tangents = flow.chart.pushforward(u, frame, condition)[1] / scale
        tangents = tangents.reshape(flow.latent_dim, -1)
        metric = tangents @ tangents.T
        return jnp.abs(metric).sum() - jnp.trace(metric)

    return jax.vmap(of_point)(batch.x, batch.condition)


@dataclass(frozen=True)
class FreeForm:
    r"""Free-form injective flows (Sorrenson et al. 2024, arXiv 2306.01843).

    Encoder and decoder are free networks. The gradient of the log-volume is estimated as that of
    -v^T e'(x) sg[g'(e(x)) v], from one probe v per point, with encoder and decoder taken for
    inverses of each other; sg[.] is held fixed. Where reconstruction is not yet good the gradient
    is biased, so that ``weight`` must be large enough to make it good.
    """

    centred: ClassVar = True
    weight: float = 1e3

    def __call__(self, flow, batch: Batch, key):
        flow = unwrap(flow)

        def of_point(x, condition, key):
            u = flow.chart.encode(x, condition)
            (probe,) = sampler_sphere(u, num=1)(key)
            projected = flow.chart.decode(u, condition)
            error = jnp.mean(jnp.square(scaled_error(flow, x, projected)))
            log_volume = gradient_of(surrogate(flow.chart, x, u, probe, condition))
            return self.weight * error + log_volume - flow.latent_log_prob(u, condition)

        keys = jr.split(key, batch.x.shape[0])
        return jnp.mean(jax.vmap(of_point)(batch.x, batch.condition, keys))

    def validate(self, flow, batch: Batch, key):
        """The same with exact log-volumes of the decoder."""
        return ReconstructionAndLikelihood(self.weight).validate(flow, batch, key)


@dataclass(frozen=True)
class RelaxedInjective:
    """Relaxed injective flows (Kumar et al. 2020, arXiv 2002.08927): a bound of log p(x).

    It asks for no encoder that inverts the decoder: the reconstruction error does.
    """

    centred: ClassVar = True
    weight: float = 1e5

    def __call__(self, flow, batch: Batch, key):
        error = Reconstruction()(flow, batch, key)
        return self.weight * error - jnp.mean(bound(flow, batch, key))


def bound(flow, batch: Batch, key):
    r"""An unbiased estimate of a lower bound of log p at each point's projection, shape (N,).

    Hadamard's inequality bounds the log-volume in every orthonormal basis q_k of latent space,
    hence on average over all bases:

        1/2 log det J^T J <= sum_k log |J q_k|,    E_q of which is  n E_v log |J v|,

    v uniform on the unit sphere. One v, and one Jacobian-vector product, gives an unbiased
    estimate; the bound is tight where the decoder is conformal. (Kumar et al. bound it further by
    Jensen's inequality, n/2 log(|J|_F^2 / n).)
    """
    flow = unwrap(flow)

    def of_point(x, condition, key):
        u = flow.chart.encode(x, condition)
        direction = jr.normal(key, (1, flow.latent_dim), dtype=u.dtype)
        direction /= jnp.linalg.norm(direction)
        _, tangent = flow.chart.pushforward(u, direction, condition)
        stretch = flow.latent_dim * jnp.log(length(tangent))
        return flow.latent_log_prob(u, condition) - stretch

    keys = jr.split(key, batch.x.shape[0])
    return jax.vmap(of_point)(batch.x, batch.condition, keys)
