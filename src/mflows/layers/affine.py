r"""Affine transformers of coupling layers, of RealNVP (Dinh et al. 2017, arXiv 1605.08803).

    y = exp(s) x + b,    s = 2 tanh(a / 2),

with a and b given by the layer's network. On a padded manifold the coordinates beyond the first n
are 0, and a layer makes functions of the others of them: one number, the shift b, where a spline
has all its bins for it.
"""

import jax.numpy as jnp
from flowjax.bijections import AbstractBijection
from jaxtyping import Scalar

LARGEST = 2.0
"""Largest logarithm of a scale: e^2 times as large, or as small, in one layer."""


class BoundedAffine(AbstractBijection):
    """y = exp(s) x + b with a bounded s; it starts as the identity."""

    unbounded: Scalar
    shift: Scalar
    shape: tuple[int, ...] = ()
    cond_shape: None = None

    def __init__(self):
        self.unbounded = self.shift = jnp.zeros(())

    def transform_and_log_det(self, x, condition=None):
        log_scale = self._log_scale
        return jnp.exp(log_scale) * x + self.shift, log_scale

    def inverse_and_log_det(self, y, condition=None):
        log_scale = self._log_scale
        return jnp.exp(-log_scale) * (y - self.shift), -log_scale

    @property
    def _log_scale(self) -> Scalar:
        return LARGEST * jnp.tanh(self.unbounded / LARGEST)
