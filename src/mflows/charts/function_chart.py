r"""A manifold that its user gives by two functions, x = g(u) and u = e(x)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mflows.charts.chart import Chart


class FunctionChart(Chart):
    """A chart made of a decoder and an encoder, for one point each.

    Args:
        decode: ``u -> x``, differentiable; ``(u, condition) -> x`` if there is a ``cond_shape``.
        encode: ``x -> u`` with ``encode(decode(u)) == u``; off the manifold ``decode(encode(x))``
            is the projection. Likewise with a condition.
        shape: Shape of a data point x.
        latent_dim: Dimension n of the manifold.
        cond_shape: Shape of the condition, ``None`` if the manifold does not depend on one.

    Raises:
        ValueError: If one of the functions returns another shape. That the second undoes the first
            is not checked: try it on some points.
    """

    decoder: Callable[..., Array]
    encoder: Callable[..., Array]
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: tuple[int, ...] | None

    def __init__(
        self,
        decode: Callable[..., Array],
        encode: Callable[..., Array],
        *,
        shape: tuple[int, ...],
        latent_dim: int,
        cond_shape: tuple[int, ...] | None = None,
    ):
        self.decoder, self.encoder = decode, encode
        self.shape, self.latent_dim = tuple(shape), latent_dim
        self.cond_shape = None if cond_shape is None else tuple(cond_shape)
        _check("decode", self.decode, self, (latent_dim,), self.shape)
        _check("encode", self.encode, self, self.shape, (latent_dim,))

    def decode(self, u, condition=None):
        return self.decoder(u, *self._given(condition))

    def encode(self, x, condition=None):
        return self.encoder(x, *self._given(condition))

    def _given(self, condition: Array | None) -> tuple[Any, ...]:
        return () if self.cond_shape is None else (condition,)


def _check(name: str, function, chart: FunctionChart, given: tuple, expected: tuple) -> None:
    """Trace the function, without running it, and compare the shape of its result."""
    dtype = jnp.result_type(float)
    shapes = [given, *([] if chart.cond_shape is None else [chart.cond_shape])]
    found = jax.eval_shape(function, *(jax.ShapeDtypeStruct(shape, dtype) for shape in shapes))
    if getattr(found, "shape", None) != expected:
        raise ValueError(
            f"Expected `{name}` to turn one array of shape {given} into one of shape {expected}; "
            f"got {getattr(found, 'shape', type(found).__name__)}. It acts on one point, not on a "
            "batch."
        )
