r"""Densities on the sphere S^n, as densities of its spherical coordinates u.

With f a bijection of the sphere and A_n its area, the density on the sphere and that of u are

    log q(x) = -log A_n + log |det df/dx|  (intrinsic),      log p(u) = log q(x(u)) + log-volume(u)

In a ``Flow`` with the chart ``Sphere(n)`` the log-volume is subtracted again, so that what remains
is q, which knows of no coordinates and is finite and continuous at their poles.
"""

import math

import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import AbstractBijection
from flowjax.distributions import AbstractDistribution
from jaxtyping import PRNGKeyArray

from mflows.charts import Sphere, condition_for, sphere_spline_stack


class SphereFlow(AbstractDistribution):
    """The density on S^n that a bijection turns into the uniform one, in spherical coordinates.

    Args:
        bijection: A bijection of R^(n+1) that keeps lengths, from the data to the uniform density;
            for instance ``mflows.charts.sphere_spline_stack``.
    """

    bijection: AbstractBijection
    chart: Sphere
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    def __init__(self, bijection: AbstractBijection):
        self.bijection = bijection
        self.chart = Sphere(bijection.shape[0] - 1)
        self.shape = (self.chart.latent_dim,)
        self.cond_shape = bijection.cond_shape

    @property
    def _log_area(self) -> float:
        """Of the unit sphere: A_n = 2 pi^((n+1)/2) / Gamma((n+1)/2)."""
        half = self.bijection.shape[0] / 2
        return math.log(2) + half * math.log(math.pi) - math.lgamma(half)

    def _log_prob(self, x, condition=None):
        condition = condition_for(self.bijection, condition)
        _, log_det = self.bijection.transform_and_log_det(self.chart.decode(x), condition)
        return log_det - self._log_area + self.chart.log_volume(x)

    def _sample(self, key, condition=None):
        return self._sample_and_log_prob(key, condition)[0]

    def _sample_and_log_prob(self, key, condition=None):
        y = jr.normal(key, self.bijection.shape)
        y = y / jnp.linalg.norm(y)
        condition = condition_for(self.bijection, condition)
        x, log_det = self.bijection.inverse_and_log_det(y, condition)
        u = self.chart.encode(x)
        return u, self.chart.log_volume(u) - self._log_area - log_det


def sphere_flow(key: PRNGKeyArray, n: int, **settings) -> SphereFlow:
    """A flow on the sphere S^n, n >= 2, for the chart ``Sphere(n)``; close to uniform at first.

    Args:
        key: Random key for the initial weights.
        n: Dimension of the sphere.
        settings: As for ``mflows.charts.sphere_spline_stack``.
    """
    return SphereFlow(sphere_spline_stack(key, n + 1, **settings))
