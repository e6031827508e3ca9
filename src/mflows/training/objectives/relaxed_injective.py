r"""Relaxed injective probability flows (Kumar et al. 2020, arXiv 2002.08927).

The log-volume of a free decoder is bounded by Hadamard's inequality in every orthonormal basis
q_k of latent space, hence on average over all bases:

    1/2 log det J^T J <= sum_k log |J q_k|,    E_q of which is  n E_v log |J v|,

v uniform on the unit sphere. One v gives an unbiased estimate of the bound, at the price of one
Jacobian-vector product; the bound is tight where the decoder is conformal. (Kumar et al. bound it
further by Jensen's inequality, n/2 log(|J|_F^2 / n).) Nothing in it asks for an encoder that
inverts the decoder: the reconstruction error does.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.random as jr
from paramax import unwrap

from mflows.training.objectives.likelihood import Reconstruction
from mflows.training.phases import Batch


@dataclass(frozen=True)
class RelaxedInjective:
    """``weight`` times the reconstruction error minus the mean stochastic bound of log p(x)."""

    weight: float = 1e5

    def __call__(self, flow, batch: Batch, key):
        error = Reconstruction()(flow, batch, key)
        return self.weight * error - jnp.mean(bound(flow, batch, key))


def bound(flow, batch: Batch, key):
    """An unbiased estimate of the lower bound of log p at each point's projection, shape (N,)."""
    flow = unwrap(flow)

    def of_point(x, condition, key):
        u = flow.chart.encode(x, condition)
        direction = jr.normal(key, (1, flow.latent_dim), dtype=u.dtype)
        direction /= jnp.linalg.norm(direction)
        _, tangent = flow.chart.pushforward(u, direction, condition)
        stretch = flow.latent_dim * jnp.log(jnp.linalg.norm(tangent))
        return flow.latent_log_prob(u, condition) - stretch

    keys = jr.split(key, batch.x.shape[0])
    return jax.vmap(of_point)(batch.x, batch.condition, keys)
