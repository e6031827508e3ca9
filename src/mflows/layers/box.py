r"""The inside of a box: R^k bent into bounds, coordinate by coordinate.

    theta = low + (high - low) Phi(z)

with Phi the normal distribution function, so that a uniform density in the box is a standard normal
one outside of it.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm
from jaxtyping import ArrayLike, Float
from paramax import NonTrainable


class NormalCDF(AbstractBijection):
    """R^k to the unit cube, y = Phi(x) in every coordinate."""

    shape: tuple[int, ...] = ()
    cond_shape: ClassVar[None] = None

    def transform_and_log_det(self, x, condition=None):
        return ndtr(x), jnp.sum(norm.logpdf(x))

    def inverse_and_log_det(self, y, condition=None):
        x = ndtri(y)
        return x, -jnp.sum(norm.logpdf(x))


class Box(AbstractBijection):
    """R^k to a box, whose bounds do not train.

    A point outside of the box has no preimage: it gets that of the nearest point of the box, and
    the log-determinant -inf, so that no density is there.

    Args:
        low: Lower bounds, shape (k,).
        high: Upper bounds, of the same shape.
    """

    low: Any  # NonTrainable arrays; the arrays themselves in methods, which act on unwrapped layers
    high: Any
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, low: Float[ArrayLike, " k"], high: Float[ArrayLike, " k"]):
        self.low, self.high = (NonTrainable(jnp.asarray(end, dtype=float)) for end in (low, high))
        self.shape = np.shape(low)

    def transform_and_log_det(self, x, condition=None):
        share, log_det = NormalCDF(self.shape).transform_and_log_det(x)
        y = self.low + (self.high - self.low) * share
        return jnp.clip(y, self.low, self.high), log_det + self._log_volume

    def inverse_and_log_det(self, y, condition=None):
        share = (y - self.low) / (self.high - self.low)
        inside = jnp.all((share >= 0) & (share <= 1))
        least = jnp.finfo(share.dtype).eps
        x, log_det = NormalCDF(self.shape).inverse_and_log_det(jnp.clip(share, least, 1 - least))
        return x, jnp.where(inside, log_det - self._log_volume, -jnp.inf)

    @property
    def _log_volume(self):
        return jnp.sum(jnp.log(self.high - self.low))
