r"""Stacks of coupling layers, of rational-quadratic splines (Durkan et al. 2019, arXiv 1906.04032).

One layer is  P^-1 . C . P  with P a permutation or an LU map and C a coupling layer that
transforms D // 2 coordinates conditioned on the other D - D // 2. Three choices make manifold
learning robust (docs/decisions.md holds the measurements):

* the stack starts at the identity, because the conditioner's last layer starts near zero;
* permutations are undone within each layer, so the coordinates that a padding keeps stay the
  intended ones;
* a layer conditions on the larger half, so that "the rest as a function of n coordinates" is one
  layer.

Layers are scanned, so compile time does not grow with depth.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import (
    AbstractBijection,
    Chain,
    Coupling,
    Permute,
    Sandwich,
    TriangularAffine,
)
from flowjax.utils import get_ravelled_pytree_constructor
from jaxtyping import Array, PRNGKeyArray

from mflows.layers.affine import BoundedAffine
from mflows.layers.rational_quadratic import RationalQuadraticSpline
from mflows.layers.stack import Stack
from mflows.nets import AngularMLP, ResidualMLP, check_depth

IDENTITY_SCALE = 0.01


class Transformer(NamedTuple):
    """A scalar bijection, its constructor from parameters, and their number."""

    bijection: AbstractBijection
    constructor: Callable[[Array], AbstractBijection]
    parameters: int


def transformer(kind: Callable[..., AbstractBijection], *settings) -> Transformer:
    """The transformer ``kind(*settings)``, in the precision that JAX is set to.

    Cached, so that two stacks with the same settings are structurally equal and share compiled
    functions.
    """
    # A constructor holds numbers of the precision it was made in, which may have changed since.
    return _transformer(jnp.result_type(float), kind, *settings)


@lru_cache
def _transformer(dtype, kind: Callable[..., AbstractBijection], *settings) -> Transformer:
    with jax.ensure_compile_time_eval():  # what is cached must not belong to a caller's trace
        bijection = kind(*settings)
        return Transformer(
            bijection, *get_ravelled_pytree_constructor(bijection, eqx.is_inexact_array)
        )


def transformer_of(*, affine: bool, bins: int, interval: float) -> Transformer:
    """Bounded affine maps, or rational-quadratic splines."""
    return (
        transformer(BoundedAffine)
        if affine
        else transformer(RationalQuadraticSpline, bins, interval)
    )


def step(dim: int) -> int:
    """How many coordinates one layer transforms."""
    return max(dim // 2, 1)


def coupling(
    key: PRNGKeyArray,
    dim: int,
    of: Transformer,
    conditioner: ResidualMLP | AngularMLP,
    cond_dim: int | None,
) -> Coupling:
    """A FlowJAX coupling layer with a conditioner of ours."""
    layer = Coupling(
        key,
        transformer=of.bijection,
        untransformed_dim=dim - step(dim),
        dim=dim,
        cond_dim=cond_dim,
        nn_width=1,
        nn_depth=1,
    )
    return eqx.tree_at(
        lambda c: (c.transformer_constructor, c.conditioner), layer, (of.constructor, conditioner)
    )


def spline_coupling(
    key: PRNGKeyArray,
    dim: int,
    *,
    cond_dim: int | None = None,
    bins: int = 10,
    interval: float = 6.0,
    width: int = 64,
    blocks: int = 1,
    affine: bool = False,
) -> Coupling:
    """One FlowJAX coupling layer with a residual conditioner, close to the identity.

    Transforms the last ``max(dim // 2, 1)`` coordinates given all the others.

    Args:
        key: Random key for the initial weights.
        dim: Dimension, at least 1.
        cond_dim: Dimension of the condition, ``None`` for an unconditional layer.
        bins: Number of spline bins on ``[-interval, interval]``; the identity outside.
        interval: Half width of the splines' interval.
        width: Width of the conditioner network.
        blocks: Number of residual blocks in the conditioner network.
        affine: Scale and shift coordinates (``mflows.layers.affine``) in place of splines.
    """
    of = transformer_of(affine=affine, bins=bins, interval=interval)
    conditioner = ResidualMLP(
        key,
        dim - step(dim) + (cond_dim or 0),
        of.parameters * step(dim),
        width=width,
        blocks=blocks,
        scale=IDENTITY_SCALE,
    )
    return coupling(key, dim, of, conditioner, cond_dim)


def permutations(key: PRNGKeyArray, dim: int, layers: int) -> jnp.ndarray:
    """Orders of the coordinates, shape (layers, dim), one per coupling layer.

    Layers turn through the coordinates ``dim // 2`` at a time, the last coordinates first; each
    full turn after the first starts from a new random order.
    """
    moved = step(dim)
    turn = -(-dim // moved)
    order, rows = jnp.arange(dim), []
    for layer in range(layers):
        if layer and layer % turn == 0:
            order = jr.permutation(jr.fold_in(key, layer), dim)
        rows.append(jnp.roll(order, moved * (layer % turn)))
    return jnp.stack(rows)


def permute(order: jnp.ndarray) -> Permute:
    """FlowJAX's permutation by an order that is one.

    Its constructor asks the host whether it is, and JAX keeps no such program on disk.
    """
    unchecked = eqx.filter_eval_shape(Permute, order)
    fields = (order,), (jnp.argsort(order),)
    return eqx.tree_at(lambda p: (p.permutation, p.inverse_permutation), unchecked, fields)


class Triangular(TriangularAffine):
    """FlowJAX's, from the identity on, in full precision.

    Accelerators round the inputs of a product, but not of the solution that is its inverse.
    """

    def __init__(self, dim: int, *, lower: bool):
        super().__init__(jnp.zeros(dim), jnp.eye(dim), lower=lower)

    def transform_and_log_det(self, x, condition=None):
        with jax.default_matmul_precision("highest"):
            return super().transform_and_log_det(x, condition)


def spline_stack(
    key: PRNGKeyArray, dim: int, *, layers: int = 5, linear: bool = False, **settings
) -> AbstractBijection:
    """A bijection of R^dim made of scanned spline coupling layers, close to the identity.

    Args:
        key: Random key for weights and permutations.
        dim: Dimension, at least 1. For ``dim == 1`` the layers reduce to splines whose
            parameters depend on the condition alone.
        layers: Number of coupling layers.
        linear: Put a learned LU map before every coupling layer.
        settings: ``cond_dim``, ``bins``, ``interval``, ``width``, ``blocks`` and ``affine``, as
            for `spline_coupling`.
    """
    check_depth("layers", layers)
    keys = jr.split(key, layers + 1)

    def layer(key: PRNGKeyArray, order: jnp.ndarray) -> AbstractBijection:
        permuted = Sandwich(spline_coupling(key, dim, **settings), permute(order))
        if not linear:
            return permuted
        lu = (Triangular(dim, lower=lower) for lower in (False, True))
        return Chain([*lu, permuted])

    orders = permutations(keys[-1], dim, layers)
    # The first layer moves the last coordinates; after an LU map it changes the others too.
    kept = 0 if linear else dim - step(dim)
    return Stack(eqx.filter_vmap(layer)(keys[:-1], orders), kept=kept)
