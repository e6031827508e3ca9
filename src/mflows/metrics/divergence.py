r"""Kullback-Leibler divergences between a flow q and a true density p on the *same* manifold.

    KL(p || q) = E_p[log p - log q],    KL(q || p) = E_q[log q - log p]

Both by Monte Carlo, with the standard error of the mean. The first is large where the flow misses
a part of the truth, the second where it adds one. The effective sample size as a fraction,

    ESS = (sum_i w_i)^2 / (N sum_i w_i^2),    w_i = p(x_i) / q(x_i),    x_i ~ q,

is 1 for a perfect flow (as in Rezende et al. 2020, arXiv 2002.02428).

Two densities have a divergence on one manifold only: one that is prescribed, or all of R^D. For a
learned manifold use ``log_density_error`` beside the distances.
"""

from typing import Protocol

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import ArrayLike, PRNGKeyArray

from mflows.charts import condition_for
from mflows.flow import Flow
from mflows.simulators import HasDistance, HasLogProb, Simulator

_CLOSE = 1e-3
"""Distance, in units of the data's spread, up to which a point counts as on the manifold."""


class KnownSimulator(Simulator, HasLogProb, Protocol):
    """Draws points and knows their density."""


def kl_divergences(
    flow: Flow,
    simulator: KnownSimulator,
    theta: ArrayLike,
    key: PRNGKeyArray,
    *,
    count: int = 10_000,
) -> dict[str, float]:
    """Both divergences in nats, their standard errors, and the effective sample size fraction.

    Args:
        flow: A flow on the simulator's manifold. A condition, if it has one, is theta.
        simulator: Draws points and knows their density.
        theta: One parameter vector, shape (k,).
        key: Random key.
        count: Number of points drawn from each.

    Raises:
        ValueError: If the true points are not on the flow's manifold, or, where the simulator knows
            distances, the flow's points not on the true one.
    """
    true_key, flow_key = jr.split(key)
    theta = jnp.asarray(theta, dtype=float)
    x = simulator.simulate(true_key, jnp.broadcast_to(theta, (count, *theta.shape)))
    given = condition_for(flow, theta)
    log_q, distance = flow.log_prob_and_distance(x, given)
    spread = float(jnp.sqrt(jnp.var(x, axis=0).sum()))
    _check("True points are", distance, spread)
    samples, log_q_own = flow.sample_and_log_prob(flow_key, (count,), given)
    if isinstance(simulator, HasDistance):
        _check("Points of the flow are", simulator.distance(samples), spread)

    log_w = np.asarray(simulator.log_prob(samples, theta) - log_q_own, dtype=np.float64)
    w = np.exp(log_w - log_w.max())
    return {
        **_mean("kl_true_model", simulator.log_prob(x, theta) - log_q),
        **_mean("kl_model_true", -log_w),
        "ess_fraction": float(w.sum() ** 2 / (count * (w**2).sum())),
    }


def _mean(name: str, values: ArrayLike) -> dict[str, float]:
    values = np.asarray(values, dtype=np.float64)
    error = values.std(ddof=1) / np.sqrt(len(values))
    return {name: float(values.mean()), f"{name}_error": float(error)}


def _check(points: str, distance: ArrayLike, spread: float) -> None:
    farthest = float(np.max(distance))
    if not farthest <= _CLOSE * spread:
        raise ValueError(
            "Expected a flow on the simulator's own manifold, where their densities can be "
            f"compared. {points} up to {farthest:.3g} off (the data's spread is {spread:.3g}). "
            "For a learned manifold use log_density_error and the distances."
        )
