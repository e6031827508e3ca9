r"""Log-likelihood of theta given observed points, sum_i log p(x_i | theta).

For a flow, log p(x | theta) = log p_U(u | theta) - log_volume. If its chart does not depend on
theta, neither do the latents u = e(x) nor the log-volumes: the points are encoded once, the
volumes are a constant that no posterior needs, and the cost per theta does not depend on D. If the
chart depends on theta, both change with theta and all of log p(x | theta) is computed each time.
"""

from collections.abc import Callable
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Scalar
from paramax import unwrap

from mflows.flow import Flow
from mflows.simulators import HasLogProb

LogLikelihood = Callable[[Float[Array, " k"]], Scalar]


class _OfLatents(eqx.Module):
    flow: Flow
    u: Float[Array, "m n"]

    def __call__(self, theta):
        return jax.vmap(self.flow.latent_log_prob, (0, None))(self.u, theta).sum()


class _OfPoints(eqx.Module):
    flow: Flow
    x: Array

    def __call__(self, theta):
        return jax.vmap(self.flow._log_prob, (0, None))(self.x, theta).sum()


class _Known(eqx.Module):
    simulator: HasLogProb
    x: Array

    def __call__(self, theta):
        log_prob = self.simulator.log_prob(self.x, theta)
        if log_prob.shape != (len(self.x),):
            raise ValueError(
                f"Expected log_prob(x, theta) of shape ({len(self.x)},) for points of shape "
                f"{self.x.shape} and one theta of shape {theta.shape}; got {log_prob.shape}."
            )
        return log_prob.sum()


def log_likelihood(model: Flow | HasLogProb, x: ArrayLike) -> LogLikelihood:
    """The function theta -> sum_i log p(x_i | theta) of one theta of shape (k,), in nats.

    Up to a constant: the log-volumes, where the chart does not depend on theta.

    Args:
        model: A flow with a condition, or anything with ``log_prob(x, theta)``.
        x: Observed points, shape (m, *shape), independent given theta.

    Raises:
        ValueError: If the flow has no condition, or for another shape of ``x``.
    """
    x = np.asarray(x)
    if not isinstance(model, Flow):
        if x.ndim < 2:
            raise ValueError(f"Expected observed points of shape (m, D); got {x.shape}.")
        return _Known(model, jnp.asarray(x, dtype=float))
    if model.cond_shape is None:
        raise ValueError(
            "Expected a flow with a condition theta to infer; this flow has no theta. Build and "
            "train it with cond_shape=(k,)."
        )
    if x.ndim != 1 + len(model.shape) or x.shape[1:] != model.shape or not len(x):
        expected = ", ".join(map(str, model.shape))
        hint = " Write x[None] for a single point." if x.shape == model.shape else ""
        raise ValueError(
            f"Expected observed points of shape (m, {expected}) for this flow; got {x.shape}.{hint}"
        )
    if model.chart.cond_shape is None:
        centre = None if model.conditions is None else model.conditions.placement.centre
        # The condition is needed by the flow's checks only: any one in the range of training.
        u = model.encode(x, np.zeros(model.cond_shape) if centre is None else centre)
        return _OfLatents(cast(Flow, unwrap(model)), u)
    centred = model.around(np.zeros(model.shape))
    return _OfPoints(cast(Flow, unwrap(centred)), model.centred(x))
