r"""The density in space of a manifold and its noise: one unit for manifolds of every dimension.

A density on a manifold is one per n-dimensional volume, and no two of different n compare. Data
scatter around the manifold, and that noise makes it one in R^D (z = x in units of ``scale``):

    z = g(u) + sigma v,    v standard normal in the D - n directions across the manifold
    log p(x) = log p_M(g(u)) - |r|^2 / (2 sigma^2) - (D - n)/2 log(2 pi sigma^2) - sum_i log scale_i
    r = (1 - J (J^T J)^-1 J^T) (z - g(u)),    u = e(z),  J = dg/du

r is the part of z - g(u) across the manifold, all of it where the projection is orthogonal. To
first order in sigma times the curvature this is a normalised density, whatever the angle at which
the chart projects: an oblique projection shears volume, and leaves it as large as it is. On a flat
manifold with a normal density and orthogonal projection it is the likelihood of probabilistic PCA
(Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611). It is largest, over sigma^2, at the mean of
|r|^2 / (D - n).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import Scale
from jaxtyping import Array, ArrayLike, Float
from paramax import NonTrainable

from mflows.batches import over_points
from mflows.flow import Flow, LogProbAndDistance
from mflows.layers.placement import numbers, outermost
from mflows.volume import length


def noise_variance(flow: Flow, x: ArrayLike, *, scale: Float[np.ndarray, "..."]) -> float:
    """Maximum-likelihood sigma^2 of rows around a flow's manifold, per direction across it.

    Args:
        flow: A flow on a manifold, n < D.
        x: Training rows, shape (N, *shape).
        scale: Positive unit of every number of a point, of shape ``flow.shape``, in which noise
            is the same in all directions: the standard deviations of the columns.

    Raises:
        ValueError: If n >= D: there is no direction across.
    """
    _, distance, across = _on_and_across(flow, x, scale)
    return float(np.square(distance).mean() / across)


def thickened_log_prob(
    flow: Flow, x: ArrayLike, *, scale: Float[np.ndarray, "..."], noise_variance: float
) -> Float[np.ndarray, " N"]:
    """Log-density in R^D of a flow thickened by normal noise, in nats, shape (N,).

    Args:
        flow: A flow on a manifold, n < D.
        x: Points, shape (N, *shape).
        scale: Units of the noise, as of `noise_variance`.
        noise_variance: sigma^2, positive, in those units.

    Raises:
        ValueError: If n >= D, or sigma^2 is not positive.
        Unavailable: If the flow has no density.
    """
    if not noise_variance > 0:
        raise ValueError(f"Expected noise_variance > 0; got {noise_variance}.")
    log_prob, distance, across = _on_and_across(flow, x, scale)
    normal = distance**2 / noise_variance + across * np.log(2 * np.pi * noise_variance)
    return log_prob - normal / 2 - np.log(scale).sum()


def _on_and_across(
    flow: Flow, x: ArrayLike, scale: Float[np.ndarray, "..."]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Log p_M and |r| of points, in units of ``scale``, and the number D - n of directions."""
    if flow.latent_dim >= flow.dim:
        raise ValueError(
            f"Expected a flow on a manifold, n < {flow.dim}; got n = {flow.latent_dim}. The "
            "density of an ambient flow is one in space as it is: flow.log_prob."
        )
    standard, z = _standardised(flow, x, scale)
    found = over_points(_of_point, standard, standard.centred(z), standard.shape, None)
    log_prob, distance = (np.asarray(part, dtype=np.float64) for part in found)
    return log_prob, distance, flow.dim - flow.latent_dim


def _of_point(flow: Flow, x: Array, condition: None = None) -> LogProbAndDistance:
    """Log p_M of one point and the length of its residual across the manifold."""
    u = flow.chart.encode(x)
    projected, tangents = flow.chart.pushforward(u, jnp.eye(flow.latent_dim))
    along = jnp.linalg.qr(tangents.reshape(flow.latent_dim, -1).T)[0]
    residual = (x - projected).ravel()
    across = length(residual - along @ (along.T @ residual))
    return LogProbAndDistance(flow._log_prob(x), across)


def _standardised(
    flow: Flow, x: ArrayLike, scale: Float[np.ndarray, "..."]
) -> tuple[Flow, np.ndarray]:
    """The flow of points less its mean and over ``scale``, and these points."""
    x, own, placement = np.asarray(x, dtype=np.float64), flow.own(), outermost(flow.chart)
    if placement is None:
        chart = own.chart.then(Scale(1 / scale))
        return Flow(chart, own.latent, own.volume), x / scale
    ratio = NonTrainable(jnp.asarray(numbers(placement.scale) / scale, dtype=float))
    scaled = eqx.tree_at(lambda layer: layer.scale, outermost(own.chart), ratio)
    own = eqx.tree_at(lambda f: outermost(f.chart), own, scaled)
    return own, (x - placement.centre) / scale
