r"""Densities of n angles: a stack of circular splines from the uniform density (2 pi)^-n.

    log p(u) = -n log(2 pi) + log |det df/du|,   f: the torus -> the torus

They do not see where the angles jump from pi to -pi (Rezende et al. 2020, arXiv 2002.02428).
"""

import math

import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import Invert
from flowjax.distributions import AbstractDistribution, Transformed
from jaxtyping import PRNGKeyArray

from mflows.charts import circular_spline_stack


class UniformTorus(AbstractDistribution):
    """The uniform density of n angles; samples are in [-pi, pi).

    Args:
        n: Number of angles.
    """

    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, n: int):
        self.shape = (n,)

    def _log_prob(self, x, condition=None):
        return jnp.full((), -self.shape[0] * math.log(2 * math.pi), x.dtype)

    def _sample(self, key, condition=None):
        return jr.uniform(key, self.shape, minval=-jnp.pi, maxval=jnp.pi)


def torus_flow(key: PRNGKeyArray, n: int, **settings) -> Transformed:
    """A flow of n angles, for the charts ``Circle`` and ``Torus``; close to uniform at first.

    Args:
        key: Random key for the initial weights.
        n: Number of angles.
        settings: As for ``mflows.charts.circular_spline_stack``.
    """
    return Transformed(UniformTorus(n), Invert(circular_spline_stack(key, n, **settings)))
