r"""Transformers of images (H, W, C), whose tokens are patches of p x p pixels.

    h = W x + place + V theta,    h <- h + attention(norm(h)),    h <- h + mlp(norm(h))

Pre-normalisation blocks of vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929).
`PatchTransformer` is the conditioner of a coupling layer. `PatchEncoder` makes n numbers of all
tokens, `PatchDecoder` all tokens of n numbers. Without their blocks these two are affine.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mflows.nets.linear import (
    Linear,
    drawn,
    full_precision,
    limits,
    of_condition,
    with_condition,
    zeros,
)
from mflows.nets.residual import check_depth

TOKENS, HEADS = 64, 4
"""Patches of an image, and heads of an attention, at most where sizes divide."""


def patch_size(shape: Sequence[int]) -> int:
    """Side of the patches of an image, out of 2, 4, 8, ...

    It divides both sides of the image. It is the smallest that makes at most 64 patches, or the
    largest if none does.

    Raises:
        ValueError: If an image has not two patches of 2 x 2 pixels.
    """
    rows, columns = shape[:2]
    halvings = (math.gcd(rows, columns) & -math.gcd(rows, columns)).bit_length() - 1
    sizes = [2**k for k in range(1, halvings + 1) if 4**k < rows * columns]
    if not sizes:
        raise ValueError(
            "Expected an image of an even number of rows and columns, and at least two patches of "
            f"2 x 2 pixels; got {rows} x {columns}. Resize it, for example to 32 x 32."
        )
    return next((size for size in sizes if rows * columns <= TOKENS * size**2), sizes[-1])


def patches(x: Float[Array, "H W C"], size: int) -> Float[Array, "h w size*size*C"]:
    """The numbers of every patch, row by row."""
    height, width, channels = x.shape
    squares = x.reshape(height // size, size, width // size, size, channels)
    return jnp.moveaxis(squares, 2, 1).reshape(height // size, width // size, -1)


def from_patches(tokens: Float[Array, "h w size*size*C"], size: int) -> Float[Array, "H W C"]:
    """The image of which these are the patches."""
    height, width, numbers = tokens.shape
    squares = tokens.reshape(height, width, size, size, numbers // size**2)
    return jnp.moveaxis(squares, 1, 2).reshape(height * size, width * size, -1)


def normalised(h: Float[Array, "tokens width"]) -> Float[Array, "tokens width"]:
    """Every token with mean 0 and variance 1; the layer after it is affine."""
    centred = h - h.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + 1e-5)


class AttentionBlock(eqx.Module):
    """Self attention of tokens, then a network of each.

    Its numbers are the bounds of an initial draw.

    Args:
        width: Width of a token.
    """

    joint: Linear
    mixed: Linear
    wide: Linear
    narrow: Linear
    heads: int = eqx.field(static=True)

    def __init__(self, width: int):
        self.joint, self.mixed = limits(width, 3 * width), limits(width, width)
        self.wide, self.narrow = limits(width, 4 * width), limits(4 * width, width)
        self.heads = math.gcd(width, HEADS)

    def __call__(self, h: Float[Array, "tokens width"]) -> Float[Array, "tokens width"]:
        h = h + self.attention(normalised(h))
        return h + self.narrow(jax.nn.silu(self.wide(normalised(h))))

    def attention(self, h: Float[Array, "tokens width"]) -> Float[Array, "tokens width"]:
        """Means of the values of all tokens, by how the query of each meets their keys."""
        joint = self.joint(h).reshape(len(h), self.heads, -1)
        queries, keys, values = jnp.split(joint, 3, axis=-1)
        with full_precision():
            scores = jnp.einsum("qhd,khd->hqk", queries, keys) / math.sqrt(keys.shape[-1])
            attended = jnp.einsum("hqk,khd->qhd", jax.nn.softmax(scores), values)
        return self.mixed(attended.reshape(h.shape))


class Tokens(eqx.Module):
    """Where tokens are and what the condition is, added to them, then blocks.

    Its numbers are the bounds of an initial draw.

    Args:
        grid: Number of rows and columns of patches.
        width: Width of a token.
        cond_size: Number of components of the condition, ``None`` without one.
        blocks: Number of blocks.
    """

    place: Float[Array, "tokens width"]
    given: Linear | None
    blocks: AttentionBlock  # of all blocks, along the first axis
    grid: tuple[int, int] = eqx.field(static=True)

    def __init__(self, grid: tuple[int, int], width: int, *, cond_size: int | None, blocks: int):
        check_depth("blocks", blocks, least=0)
        self.grid = grid
        self.place = jnp.full((math.prod(grid), width), width**-0.5)
        self.given = of_condition(cond_size, width)
        self.blocks = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (blocks, *leaf.shape)), AttentionBlock(width)
        )

    def __call__(
        self, h: Float[Array, "tokens width"], condition: Float[Array, " c"] | None
    ) -> Float[Array, "tokens width"]:
        h = with_condition(h + self.place, self.given, condition)
        return jax.lax.scan(lambda h, block: (block(h), None), h, self.blocks)[0]


class PatchTransformer(eqx.Module):
    """A network from images to images of the same size, whose last layer starts at zero.

    Args:
        key: Random key for the initial weights.
        shape: Shape (H, W, C) of an image that comes in.
        outputs: Number of channels that go out.
        cond_size: Number of components of the condition, ``None`` for a network without.
        width: Width of a token.
        blocks: Number of blocks.
    """

    first: Linear
    tokens: Tokens
    last: Linear
    size: int = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        outputs: int,
        *,
        cond_size: int | None = None,
        width: int = 64,
        blocks: int = 1,
    ):
        self.size, grid = _grid(shape)
        first = limits(self.size**2 * shape[-1], width)
        tokens = Tokens(grid, width, cond_size=cond_size, blocks=blocks)
        self.first, self.tokens = drawn(key, (first, tokens))
        self.last = zeros(width, self.size**2 * outputs)

    def __call__(
        self, x: Float[Array, "H W C"], condition: Float[Array, " c"] | None = None
    ) -> Float[Array, "H W outputs"]:
        h = self.tokens(self.first(_rows(x, self.size)), condition)
        return from_patches(self.last(normalised(h)).reshape(*self.tokens.grid, -1), self.size)


class PatchEncoder(eqx.Module):
    """A network from images, given as D numbers, to n numbers.

    Args:
        key: Random key for the initial weights.
        shape: Shape (H, W, C) of an image.
        out_size: Number n.
        cond_size: Number of components of the condition, ``None`` for a network without.
        width: Width of a token.
        blocks: Number of blocks.
    """

    first: Linear
    tokens: Tokens
    last: Linear
    shape: tuple[int, ...] = eqx.field(static=True)
    size: int = eqx.field(static=True)
    in_size: int
    out_size: int
    cond_size: int | None

    def __init__(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        out_size: int,
        *,
        cond_size: int | None = None,
        width: int = 64,
        blocks: int = 2,
    ):
        self.shape, self.in_size, self.out_size = shape, math.prod(shape), out_size
        self.cond_size = cond_size
        self.size, grid = _grid(shape)
        tokens = Tokens(grid, width, cond_size=cond_size, blocks=blocks)
        first, last = limits(self.size**2 * shape[-1], width), limits(tokens.place.size, out_size)
        self.first, self.tokens, self.last = drawn(key, (first, tokens, last))

    def __call__(
        self, x: Float[Array, " D"], condition: Float[Array, " c"] | None = None
    ) -> Float[Array, " n"]:
        h = self.first(_rows(x.reshape(self.shape), self.size))
        return self.last(self.tokens(h, condition).ravel())


class PatchDecoder(eqx.Module):
    """A network from n numbers to images, given as D numbers.

    Arguments are those of `PatchEncoder`, with ``in_size`` for n.
    """

    first: Linear
    tokens: Tokens
    last: Linear
    size: int = eqx.field(static=True)
    in_size: int
    out_size: int
    cond_size: int | None

    def __init__(
        self,
        key: PRNGKeyArray,
        in_size: int,
        shape: tuple[int, ...],
        *,
        cond_size: int | None = None,
        width: int = 64,
        blocks: int = 2,
    ):
        self.in_size, self.out_size, self.cond_size = in_size, math.prod(shape), cond_size
        self.size, grid = _grid(shape)
        tokens = Tokens(grid, width, cond_size=cond_size, blocks=blocks)
        first, last = limits(in_size, tokens.place.size), limits(width, self.size**2 * shape[-1])
        self.first, self.tokens, self.last = drawn(key, (first, tokens, last))

    def __call__(
        self, u: Float[Array, " n"], condition: Float[Array, " c"] | None = None
    ) -> Float[Array, " D"]:
        h = self.tokens(self.first(u).reshape(self.tokens.place.shape), condition)
        return from_patches(self.last(h).reshape(*self.tokens.grid, -1), self.size).ravel()


def _grid(shape: Sequence[int]) -> tuple[int, tuple[int, int]]:
    """Side of the patches, and the number of their rows and columns."""
    size = patch_size(shape)
    return size, (shape[0] // size, shape[1] // size)


def _rows(x: Float[Array, "H W C"], size: int) -> Float[Array, "tokens numbers"]:
    tokens = patches(x, size)
    return tokens.reshape(-1, tokens.shape[-1])
