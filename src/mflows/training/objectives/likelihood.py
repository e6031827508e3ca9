"""Objectives of the density: likelihoods, a bound of one, the divergence from a known target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Scalar
from paramax import unwrap

from mflows.models import log_weight
from mflows.training.phases import Batch


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """Mean of -log p(x): of a bijection, or jointly of chart and latent density."""

    centred: ClassVar = True

    def __call__(self, flow, batch: Batch, key):
        flow = unwrap(flow)
        return -jnp.mean(jax.vmap(flow._log_prob)(batch.x, batch.condition))


@dataclass(frozen=True)
class LatentNegativeLogLikelihood:
    r"""Mean of -log p_U(e(x)): the density phase with a frozen chart.

    The chart being frozen, its log-volume is a constant and the data are encoded once; the cost of
    the phase does not depend on D.
    """

    centred: ClassVar = True

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
    only their number and conditions count, but ``fit`` warns of rows that are all alike. Modes that
    the flow has not found it does not miss.

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


@dataclass(frozen=True)
class NegativeEvidenceLowerBound:
    r"""Mean of -E_q log w(u) >= -log p(x), with one draw per point (Kingma & Welling 2014).

    See ``mflows.models.vae`` for the weight w.
    """

    centred: ClassVar = True

    def __call__(self, flow, batch: Batch, key):
        keys = jr.split(key, batch.x.shape[0])
        weights = jax.vmap(lambda x, condition, key: log_weight(flow, x, condition, key))(
            batch.x, batch.condition, keys
        )
        return -jnp.mean(weights)
