r"""Affine layers, y = W x + b, in the precision of their numbers on every device.

Left to themselves accelerators round the inputs of a float32 product, to TF32 on NVIDIA's. A point
that is decoded and encoded again differs in the last digits, which may be rounded apart: charts are
then inverted to 4e-4 instead of 3e-6 (docs/performance.md), for no time gained.
"""

from contextlib import AbstractContextManager

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PRNGKeyArray, PyTree


def full_precision() -> AbstractContextManager:
    """Full precision for products traced within, unless ``jax_default_matmul_precision`` is set."""
    asked = jax.config.jax_default_matmul_precision  # pyrefly: ignore[missing-attribute]
    return jax.default_matmul_precision(asked or "highest")


class Linear(eqx.nn.Linear):
    """Equinox's in `full_precision`, of the last axis.

    A batch keeps its leading axis in this product; in ``weight @ x`` it would come last.
    """

    def __call__(self, x, *, key=None):
        with full_precision():
            y = jnp.tensordot(x, self.weight, (-1, 1))
        return y if self.bias is None else y + self.bias


def limits(inputs: int, outputs: int) -> Linear:
    """An affine layer whose numbers are the largest of an initial draw, 1 / sqrt(inputs)."""
    layer = eqx.filter_eval_shape(Linear, inputs, outputs, key=jr.key(0))
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, max(inputs, 1) ** -0.5), layer)


def zeros(inputs: int, outputs: int) -> Linear:
    """An affine layer that starts at zero."""
    # Of no weak type, or the first step of a training would be compiled twice.
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), limits(inputs, outputs))


def of_condition(cond_size: int | None, width: int) -> Linear | None:
    """The layer of a condition for `with_condition`, ``None`` without one; it starts at zero."""
    return None if cond_size is None else zeros(cond_size, width)


def with_condition(h: Array, layer: Linear | None, condition: Array | None) -> Array:
    """Features ``h`` with those that a layer makes of the condition added everywhere.

    Raises:
        ValueError: If the layer wants a condition and there is none.
    """
    if layer is None:
        return h
    if condition is None:
        raise ValueError(f"Expected a condition of shape ({layer.in_features},); got none.")
    return h + layer(jnp.asarray(condition))


def drawn(key: PRNGKeyArray, bounds: PyTree) -> PyTree:
    """Numbers uniform within +- these bounds, as Equinox's own layers have them.

    All are drawn at once: a random draw takes longer to compile than all the rest of a network.
    """
    flat, unravel = ravel_pytree(bounds)
    return unravel(flat * jr.uniform(key, flat.shape, minval=-1.0, maxval=1.0))
