"""Bounds of the likelihood of a variational autoencoder, which has no closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows.data import Data
from mflows.flow import Flow
from mflows.models import log_weight


def importance_weighted_bound(
    flow: Flow, data: Data, key: PRNGKeyArray, *, draws: int = 256
) -> dict[str, float]:
    r"""Mean lower bounds of log p(x) of a VAE, in nats (Burda et al. 2016, arXiv 1509.00519).

    ``elbo`` is the mean of E log w, the evidence lower bound; ``importance_weighted`` the mean of
    log (1/K sum_k w_k) over K ``draws`` per point, which is larger and nears log p(x) as K grows.
    """
    condition = None if flow.cond_shape is None else jnp.asarray(data.condition, dtype=float)

    @eqx.filter_jit
    def log_weights(flow, x, condition, keys):
        def of_point(point):
            x, condition, key = point
            return jax.vmap(lambda key: log_weight(flow, x, condition, key))(jr.split(key, draws))

        return jax.lax.map(of_point, (x, condition, keys), batch_size=256)

    keys = jr.split(key, len(data))
    found = np.asarray(log_weights(flow, jnp.asarray(data.x, dtype=float), condition, keys))
    bound = np.logaddexp.reduce(found, axis=1) - np.log(draws)
    return {"elbo": float(found.mean()), "importance_weighted": float(bound.mean())}
