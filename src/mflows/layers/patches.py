r"""Coupling layers of images whose networks are transformers of patches.

A layer keeps some numbers of an image (H, W, C) and moves the others,

    y_i = t(x_i; theta_i),    theta = transformer(kept numbers, condition)

with t affine or a spline. As in Jet (Kolesnikov et al. 2024, arXiv 2412.15129) two layers that
split the numbers of every patch are followed by two that split the patches as on a chessboard. In
either pair the second layer moves what the first one keeps. All layers start at the identity.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import AbstractBijection
from jaxtyping import Array, ArrayLike, Bool, PRNGKeyArray, Scalar

from mflows.layers.splines import Transformer, transformer_of
from mflows.layers.stack import Stack
from mflows.nets import PatchTransformer, check_depth, from_patches, patch_size


class PatchCoupling(AbstractBijection):
    """Some numbers of an image, moved by parameters that a network makes of the others.

    Args:
        network: From images, 0 where numbers move, to the parameters of all numbers.
        of: The scalar bijection that moves a number.
        moving: Which numbers move.
        cond_dim: Number of components of the condition, ``None`` without one.
    """

    network: PatchTransformer
    moving: Bool[Array, "H W C"]
    constructor: Any = eqx.field(static=True)
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    def __init__(
        self,
        network: PatchTransformer,
        of: Transformer,
        moving: Bool[Array, "H W C"],
        cond_dim: int | None,
    ):
        self.network, self.moving = network, moving
        self.constructor = of.constructor
        self.shape = moving.shape
        self.cond_shape = None if cond_dim is None else (cond_dim,)

    def transform_and_log_det(self, x, condition=None):
        return self._moved(x, condition, lambda each, x: each.transform_and_log_det(x))

    def inverse_and_log_det(self, y, condition=None):
        return self._moved(y, condition, lambda each, y: each.inverse_and_log_det(y))

    def _moved(self, x: ArrayLike, condition, apply) -> tuple[Array, Scalar]:
        x = jnp.asarray(x)
        theta = self.network(jnp.where(self.moving, 0, x), condition).reshape(x.size, -1)
        moved, log_det = jax.vmap(lambda theta, x: apply(self.constructor(theta), x))(
            theta, x.ravel()
        )
        y = jnp.where(self.moving, moved.reshape(x.shape), x)
        return y, jnp.where(self.moving.ravel(), log_det, 0).sum()


def splits(key: PRNGKeyArray, shape: tuple[int, ...], layers: int) -> Bool[Array, "layers H W C"]:
    """Which numbers of an image move in every layer.

    They are half of the numbers of every patch, the same ones of all, and the other half; then
    the patches on the black fields of a chessboard, and those on the white ones. Every fourth
    layer draws another half.
    """
    size = patch_size(shape)
    rows, columns = shape[0] // size, shape[1] // size
    numbers = size**2 * shape[2]
    rounds = jr.split(key, -(-layers // 4))
    halves = jax.vmap(lambda key: jr.permutation(key, numbers) < numbers // 2)(rounds)
    chessboard = jnp.indices((rows, columns)).sum(axis=0)[..., None] % 2 == 1
    found = []
    for layer in range(layers):
        split = halves[layer // 4] if layer % 4 < 2 else chessboard
        moving = jnp.broadcast_to(split ^ (layer % 2 == 1), (rows, columns, numbers))
        found.append(from_patches(moving, size))
    return jnp.stack(found)


def patch_stack(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    *,
    cond_dim: int | None = None,
    layers: int = 4,
    affine: bool = True,
    bins: int = 6,
    interval: float = 6.0,
    width: int = 64,
    blocks: int = 1,
) -> Stack:
    """A bijection of images made of scanned couplings of patches, the identity at first.

    Args:
        key: Random key for the initial weights and the splits.
        shape: Shape (H, W, C). Patches have 2, 4, 8, ... pixels on a side
            (``mflows.nets.patch_size``).
        cond_dim: Dimension of the condition, ``None`` for an unconditional bijection.
        layers: Number of coupling layers; four are a round of all splits.
        affine: Scale and shift (``mflows.layers.affine``) in place of splines.
        bins: Number of spline bins.
        interval: Half width of the splines' interval.
        width: Width of the transformers' tokens.
        blocks: Number of the transformers' blocks.

    Raises:
        ValueError: If the image has no patches.
    """
    check_depth("layers", layers)
    of = transformer_of(affine=affine, bins=bins, interval=interval)
    outputs = of.parameters * shape[2]

    def one(key, moving):
        sizes: Any = {"cond_size": cond_dim, "width": width, "blocks": blocks}
        return PatchCoupling(PatchTransformer(key, shape, outputs, **sizes), of, moving, cond_dim)

    *keys, split_key = jr.split(key, layers + 1)
    return Stack(eqx.filter_vmap(one)(jnp.stack(keys), splits(split_key, shape, layers)))
