"""The objective of a variational autoencoder."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jax.random as jr

from mflows.models import log_weight
from mflows.training.phases import Batch


@dataclass(frozen=True)
class NegativeEvidenceLowerBound:
    r"""Mean of -E_q log w(u) >= -log p(x), with one draw per point (Kingma & Welling 2014).

    See ``mflows.models.vae`` for the weight w.
    """

    def __call__(self, flow, batch: Batch, key):
        keys = jr.split(key, batch.x.shape[0])
        weights = jax.vmap(lambda x, condition, key: log_weight(flow, x, condition, key))(
            batch.x, batch.condition, keys
        )
        return -jnp.mean(weights)
