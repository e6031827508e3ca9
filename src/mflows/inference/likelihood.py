r"""Log-likelihood of theta given observed points, sum_i log p(x_i | theta).

For a flow, log p(x | theta) = log p_U(u | theta) - log_volume. If its chart does not depend on
theta, neither do the latents u = e(x) nor the log-volumes: the points are encoded once, the
volumes are a constant that no posterior needs, and the cost per theta does not depend on D. If the
chart depends on theta, both change with theta and all of log p(x | theta) is computed each time.

Points are filled up to a power of two, and what is filled up does not count: samplers of other
numbers of points then share compiled programs.
"""

from abc import abstractmethod
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Scalar
from paramax import unwrap

from mflows.batches import over_points
from mflows.flow import Flow, real
from mflows.inference.alarms import alarm
from mflows.simulators import HasLogProb
from mflows.volume import length

FEWEST = 32
"""Points are filled up to so many at least."""


class LogLikelihood(eqx.Module):
    """The function theta -> sum_i log p(x_i | theta) of one theta of shape (k,), in nats.

    Args:
        points: Points, or their latents, and rows that do not count; shape (M, ...).
        count: How many count.
    """

    points: Array
    count: Int[Array, ""]

    def __init__(self, points: Array):
        self.points = filled(points, max(1 << max(len(points) - 1, 0).bit_length(), FEWEST))
        self.count = jnp.asarray(len(points))

    @abstractmethod
    def each(self, theta: Float[Array, " k"]) -> Float[Array, " M"]:
        """Log-likelihood of each point by itself."""

    def __call__(self, theta: Float[Array, " k"]) -> Scalar:
        counts = jnp.arange(len(self.points)) < self.count
        return jnp.where(counts, self.each(theta), 0.0).sum()


def filled(points: Array, size: int) -> Array:
    """Points (m, ...) with copies of the first one behind them, so many in all."""
    return jnp.concatenate([points, jnp.repeat(points[:1], size - len(points), axis=0)])


class _OfFlow(LogLikelihood):
    flow: Flow
    latents: bool = eqx.field(static=True)

    def __init__(self, points: Array, flow: Flow, *, latents: bool):
        super().__init__(points)
        self.flow = cast(Flow, unwrap(flow))
        self.latents = latents

    def each(self, theta):
        of_point = self.flow.latent_log_prob if self.latents else self.flow._log_prob
        return jax.vmap(of_point, (0, None))(self.points, theta)


class _Known(LogLikelihood):
    simulator: HasLogProb

    def __init__(self, points: Array, simulator: HasLogProb):
        super().__init__(points)
        self.simulator = simulator

    def each(self, theta):
        log_prob = self.simulator.log_prob(self.points, theta)
        if log_prob.shape != (len(self.points),):
            raise ValueError(
                f"Expected log_prob(x, theta) of shape ({len(self.points)},) for points of shape "
                f"{self.points.shape} and one theta of shape {theta.shape}; got {log_prob.shape}."
            )
        return log_prob


def log_likelihood(model: Flow | HasLogProb, x: ArrayLike) -> LogLikelihood:
    """The function theta -> sum_i log p(x_i | theta) of one theta of shape (k,), in nats.

    Up to a constant: the log-volumes, where the chart does not depend on theta.

    Args:
        model: A flow with a condition, or anything with ``log_prob(x, theta)``.
        x: Observed points, shape (m, *shape), independent given theta.

    Raises:
        ValueError: If the flow has no condition, for another shape of ``x``, or missing values.

    Warns:
        Misspecified: If the points lie off the flow's manifold, farther than those of training.
    """
    points = checked_points(model, x)
    if not isinstance(model, Flow):
        return _Known(jnp.asarray(points, dtype=float), model)
    if model.chart.cond_shape is None:
        located = over_points(
            _located, model, model.centred(points), model.shape, any_condition(model)
        )
        alarm(model, located[1])
        return _OfFlow(located[0], model, latents=True)
    centred = model.around(np.zeros(model.shape))
    return _OfFlow(model.centred(points), centred, latents=False)


def _located(flow: Flow, x: Array, condition: Array) -> tuple[Array, Array]:
    """Latents of one point, and its distance to the manifold."""
    u = flow._encode(x, condition)
    return u, length(x - flow._decode(u, condition))


def any_condition(flow: Flow) -> np.ndarray:
    """A condition in the range of training, where none matters but the flow asks for one."""
    centre = None if flow.conditions is None else flow.conditions.placement.centre
    return np.zeros(cast(tuple, flow.cond_shape)) if centre is None else centre


def checked_points(model: Flow | HasLogProb, x: ArrayLike) -> np.ndarray:
    """Observed points of shape (m, *shape); ``ValueError`` for those that the model cannot have."""
    x = real("observed points", x)
    if not np.isfinite(x).all():
        raise ValueError(
            f"Expected observed points without missing or infinite values; got "
            f"{x[~np.isfinite(x)][0]} in row {int(np.argwhere(~np.isfinite(x))[0][0])}."
        )
    if not isinstance(model, Flow):
        if x.ndim < 2:
            raise ValueError(f"Expected observed points of shape (m, D); got {x.shape}.")
        return x
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
    return x
