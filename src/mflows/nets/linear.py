r"""Affine layers, y = W x + b, in the precision of their numbers on every device.

Left to themselves accelerators round the inputs of a float32 product, to TF32 on NVIDIA's. A point
that is decoded and encoded again differs in the last digits, which may be rounded apart: charts are
then inverted to 4e-4 instead of 3e-6 (docs/performance.md), for no time gained.
"""

from contextlib import AbstractContextManager

import equinox as eqx
import jax


def full_precision() -> AbstractContextManager:
    """Full precision for products traced within, unless ``jax_default_matmul_precision`` is set."""
    asked = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return jax.default_matmul_precision(asked or "highest")


class Linear(eqx.nn.Linear):
    """Equinox's in `full_precision`."""

    def __call__(self, x, *, key=None):
        with full_precision():
            return super().__call__(x, key=key)
