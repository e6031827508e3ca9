r"""Free-form injective flows (Sorrenson et al. 2024, arXiv 2306.01843).

Encoder and decoder are free networks. Instead of the log-volume its gradient is estimated, from one
probe v per point, with encoder and decoder taken for inverses of each other:

    beta |(x - g(e(x))) / s|^2 / D - log p_U(e(x)) - v^T e'(x) sg[g'(e(x)) v]

sg[.] is held fixed, s are the standard deviations of the data. Where reconstruction is not yet good
the gradient is biased, so that beta must be large enough to make it good.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.random as jr
from matfree.stochtrace import sampler_sphere
from paramax import unwrap

from mflows.training.objectives.likelihood import ReconstructionAndLikelihood, scale_of
from mflows.training.phases import Batch
from mflows.volume import gradient_of, surrogate


@dataclass(frozen=True)
class FreeForm:
    """``weight`` times the reconstruction error minus log p, whose log-volume is a surrogate."""

    weight: float = 1e3

    def __call__(self, flow, batch: Batch, key):
        flow, scale = unwrap(flow), scale_of(flow)

        def of_point(x, condition, key):
            u = flow.chart.encode(x, condition)
            (probe,) = sampler_sphere(u, num=1)(key)
            error = jnp.mean(jnp.square((x - flow.chart.decode(u, condition)) / scale))
            log_volume = gradient_of(surrogate(flow.chart, x, u, probe, condition))
            return self.weight * error + log_volume - flow.latent_log_prob(u, condition)

        keys = jr.split(key, batch.x.shape[0])
        return jnp.mean(jax.vmap(of_point)(batch.x, batch.condition, keys))

    def validate(self, flow, batch: Batch, key):
        """The same with exact log-volumes of the decoder."""
        return ReconstructionAndLikelihood(self.weight).validate(flow, batch, key)
