r"""A thin layer around the plane of the first n axes.

    p(u) = p_M(u_1 .. u_n) prod_{i > n} N(u_i; 0, eps^2),    u in R^D

The latent density of a pseudo-invertible encoder (Brehmer & Cranmer 2020, arXiv 2003.13913, sec.
2.3; Beitler et al. 2021): an ambient density whose first n coordinates are meant to run along the
data manifold and the others across it.
"""

import jax.numpy as jnp
import jax.random as jr
from flowjax.distributions import AbstractDistribution
from jax.scipy.stats import norm


class Thickened(AbstractDistribution):
    """A density on R^n, thickened to R^D by normal noise.

    Args:
        along: Density of the first n coordinates, of shape (n,).
        dim: Dimension D, larger than n.
        noise: Standard deviation eps of the others, positive.
    """

    along: AbstractDistribution
    noise: float
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    def __init__(self, along: AbstractDistribution, dim: int, *, noise: float):
        if not dim > along.shape[0]:
            raise ValueError(
                f"Expected more dimensions than the {along.shape[0]} of the thickened density; got "
                f"{dim}."
            )
        if not noise > 0:
            raise ValueError(f"Expected noise > 0; got {noise}.")
        self.along = along
        self.noise = noise
        self.shape = (dim,)
        self.cond_shape = along.cond_shape

    @property
    def latent_dim(self) -> int:
        """Dimension n of the plane."""
        return self.along.shape[0]

    def _log_prob(self, x, condition=None):
        n = self.latent_dim
        across = norm.logpdf(x[n:], scale=self.noise).sum()
        return self.along._log_prob(x[:n], condition) + across

    def _sample(self, key, condition=None):
        along_key, across_key = jr.split(key)
        along = self.along._sample(along_key, condition)
        across = self.noise * jr.normal(across_key, (self.shape[0] - self.latent_dim,))
        return jnp.concatenate((along, across))
