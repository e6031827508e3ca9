"""Bounds of the likelihood of a variational autoencoder, which has no closed form."""

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from jaxtyping import Float, PRNGKeyArray

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
    found = _log_weights(flow, data, key, draws)
    bound = _importance_weighted(found)
    return {"elbo": float(found.mean()), "importance_weighted": float(bound.mean())}


def log_prob_bound(
    flow: Flow, data: Data, key: PRNGKeyArray, *, draws: int = 256
) -> Float[np.ndarray, " N"]:
    """The importance-weighted bound of log p(x) of a VAE at every point, in nats."""
    return _importance_weighted(_log_weights(flow, data, key, draws))


def _importance_weighted(log_weights: Float[np.ndarray, "N K"]) -> Float[np.ndarray, " N"]:
    return np.logaddexp.reduce(log_weights, axis=1) - np.log(log_weights.shape[1])


def _log_weights(flow: Flow, data: Data, key: PRNGKeyArray, draws: int) -> Float[np.ndarray, "N K"]:
    condition = None
    if flow.cond_shape is not None and data.condition is not None:
        condition = flow.own_condition(data.condition)
    keys = jr.split(key, len(data))
    return np.asarray(_weights(flow.own(), flow.centred(data.x), condition, keys, draws))


@eqx.filter_jit
def _weights(flow, x, condition, keys, draws: int):
    def of_point(point):
        x, condition, key = point
        return jax.vmap(lambda key: log_weight(flow, x, condition, key))(jr.split(key, draws))

    return jax.lax.map(of_point, (x, condition, keys), batch_size=256)
