r"""Multi-scale coupling layers of images (Kingma & Dhariwal 2018, arXiv 1807.03039).

An image (H, W, C) is taken apart level by level into the averages of its squares of four pixels,
(H/2, W/2, C), which the next level takes apart again, and three differences of each. This map, of
Haar's wavelets, is orthogonal. At every level, the coarsest first, a few steps

    x -> A (s x + b) -> P^-1 coupling P,    A = L U on the channels of every pixel,

change averages and differences, given each other, before they are put together. Couplings are
affine or splines, their parameters those of a convolutional network. All steps start near the
identity, and with them the whole map.
"""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import AbstractBijection, Chain, Invert
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, Scalar

from mflows.layers.splines import IDENTITY_SCALE, Transformer, permutations, step, transformer_of
from mflows.layers.stack import Stack
from mflows.nets import ConvolutionalResidual, check_depth, halves
from mflows.tangents import inverted, push_columns, pushforward, transformed
from mflows.tangents.rules import by_columns


class ImageCoupling(AbstractBijection):
    """The last channels of an image, moved by parameters that a network makes of the others.

    Args:
        network: From the channels that are kept to the parameters of those that move.
        of: The scalar bijection that moves a number.
        shape: Shape (H, W, C).
        cond_dim: Number of components of the condition, ``None`` without one.
    """

    network: ConvolutionalResidual
    constructor: Any = eqx.field(static=True)
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    def __init__(
        self,
        network: ConvolutionalResidual,
        of: Transformer,
        shape: tuple[int, int, int],
        cond_dim: int | None,
    ):
        self.network = network
        self.constructor = of.constructor
        self.shape = shape
        self.cond_shape = None if cond_dim is None else (cond_dim,)

    def transform_and_log_det(self, x, condition=None):
        return self._moved(x, condition, lambda each, x: each.transform_and_log_det(x))

    def inverse_and_log_det(self, y, condition=None):
        return self._moved(y, condition, lambda each, y: each.inverse_and_log_det(y))

    def _moved(self, x: ArrayLike, condition, apply) -> tuple[Array, Scalar]:
        x = jnp.asarray(x)
        split = self.shape[-1] - step(self.shape[-1])
        kept, moving = x[..., :split], x[..., split:]
        theta = self.network(kept, condition).reshape(moving.size, -1)
        moved, log_det = jax.vmap(lambda theta, x: apply(self.constructor(theta), x))(
            theta, moving.ravel()
        )
        y = jnp.concatenate((kept, moved.reshape(moving.shape)), axis=-1)
        return y, log_det.sum()


class ChannelMix(AbstractBijection):
    """y = A (s x + b) of the channels of every pixel, A = L U; the identity until it trains.

    Args:
        shape: Shape (H, W, C).
    """

    log_scale: Float[Array, " C"]
    bias: Float[Array, " C"]
    lower: Float[Array, "C C"]
    upper: Float[Array, "C C"]
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, shape: tuple[int, int, int]):
        channels = shape[-1]
        self.shape = shape
        self.log_scale = self.bias = jnp.zeros(channels)
        self.lower = self.upper = jnp.zeros((channels, channels))

    def _factors(self) -> tuple[Array, Array]:
        """L with ones on its diagonal, and U with s times ones: the scale is in it."""
        identity = jnp.eye(len(self.bias), dtype=self.lower.dtype)
        lower = jnp.tril(self.lower, -1) + identity
        return lower, (jnp.triu(self.upper, 1) + identity) * jnp.exp(self.log_scale)

    @property
    def _log_det(self) -> Scalar:
        return self.log_scale.sum() * (self.shape[0] * self.shape[1])

    def transform_and_log_det(self, x, condition=None):
        lower, upper = self._factors()
        with jax.default_matmul_precision("highest"):
            return x @ (lower @ upper).T + self.bias, self._log_det

    def inverse_and_log_det(self, y, condition=None):
        lower, upper = self._factors()
        columns = jnp.asarray(y - self.bias).reshape(-1, self.shape[-1]).T
        half = solve_triangular(lower, columns, lower=True, unit_diagonal=True)
        return solve_triangular(upper, half).T.reshape(self.shape), -self._log_det


class Step(AbstractBijection):
    """A `ChannelMix`, then a coupling that sees the channels in another order.

    Args:
        mix: The map of channels.
        coupling: The coupling.
        order: Order of the channels for it.
    """

    mix: ChannelMix
    coupling: ImageCoupling
    order: Int[Array, " C"]
    back: Int[Array, " C"]
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    def __init__(self, mix: ChannelMix, coupling: ImageCoupling, order: Int[Array, " C"]):
        self.mix, self.coupling = mix, coupling
        self.order, self.back = order, jnp.argsort(order)
        self.shape, self.cond_shape = coupling.shape, coupling.cond_shape

    def transform_and_log_det(self, x, condition=None):
        mixed, log_det = self.mix.transform_and_log_det(x)
        y, more = self.coupling.transform_and_log_det(mixed[..., self.order], condition)
        return y[..., self.back], log_det + more

    def inverse_and_log_det(self, y, condition=None):
        mixed, log_det = self.coupling.inverse_and_log_det(
            jnp.asarray(y)[..., self.order], condition
        )
        x, more = self.mix.inverse_and_log_det(mixed[..., self.back])
        return x, log_det + more


class Haar(AbstractBijection):
    """Pixels from averages and differences, in the first rows and columns of an image.

    They are read from the quadrants of a block of 2 h rows and 2 w columns: averages (the sum of
    four pixels, halved), differences from left to right, from top to bottom, and of the diagonals.

    Args:
        shape: Shape (H, W, C).
        size: Number (h, w) of averages.
    """

    size: tuple[int, int]
    shape: tuple[int, ...]
    cond_shape: None = None

    def __init__(self, shape: tuple[int, ...], size: tuple[int, int]):
        self.shape, self.size = shape, size

    def transform_and_log_det(self, x, condition=None):
        x = jnp.asarray(x)
        parts = [part / 2 for part in _quadrants(x, self.size)]
        (h, w), rows = self.size, []
        for signs in ((1, 1), (1, -1)):  # the upper pixels of a square, then the lower ones
            sums = parts[0] + signs[1] * parts[2], parts[1] + signs[1] * parts[3]
            rows.append(jnp.stack([sums[0] + sums[1], sums[0] - sums[1]], axis=2))
        block = jnp.stack(rows, axis=1).reshape(2 * h, 2 * w, -1)
        return x.at[: 2 * h, : 2 * w].set(block), jnp.zeros((), x.dtype)

    def inverse_and_log_det(self, y, condition=None):
        y, (h, w) = jnp.asarray(y), self.size
        squares = y[: 2 * h, : 2 * w].reshape(h, 2, w, 2, -1) / 2
        upper, lower = squares[:, 0], squares[:, 1]
        sums, falls = upper + lower, upper - lower
        parts = (each[:, :, 0] + sign * each[:, :, 1] for each in (sums, falls) for sign in (1, -1))
        return _with_quadrants(y, self.size, parts), jnp.zeros((), y.dtype)


class Block(AbstractBijection):
    """A bijection of averages and differences, as channels, within an image.

    Args:
        bijection: Of shape (h, w, 4 C).
        shape: Shape (H, W, C) of the image, whose first 2 h rows and 2 w columns it moves.
    """

    bijection: AbstractBijection
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None

    def __init__(self, bijection: AbstractBijection, shape: tuple[int, ...]):
        self.bijection, self.shape = bijection, shape
        self.cond_shape = bijection.cond_shape

    def transform_and_log_det(self, x, condition=None):
        x = jnp.asarray(x)
        y, log_det = self.bijection.transform_and_log_det(self.inside(x), condition)
        return self.around(x, y), log_det

    def inverse_and_log_det(self, y, condition=None):
        y = jnp.asarray(y)
        x, log_det = self.bijection.inverse_and_log_det(self.inside(y), condition)
        return self.around(y, x), log_det

    def inside(self, x: Float[Array, "H W C ..."]) -> Float[Array, "h w 4C ..."]:
        """The channels that the bijection sees."""
        return jnp.concatenate(_quadrants(x, self.bijection.shape[:2]), axis=2)

    def around(self, x: Array, moved: Array) -> Array:
        """The image with these channels put back."""
        return _with_quadrants(x, self.bijection.shape[:2], jnp.split(moved, 4, axis=2))


def _quadrants(x: Array, size: tuple[int, ...]) -> list[Array]:
    h, w = size[:2]
    return [x[:h, :w], x[:h, w : 2 * w], x[h : 2 * h, :w], x[h : 2 * h, w : 2 * w]]


def _with_quadrants(x: Array, size: tuple[int, ...], parts: Iterable[Array]) -> Array:
    a, b, c, d = parts
    block = jnp.concatenate([jnp.concatenate([a, b], 1), jnp.concatenate([c, d], 1)])
    return x.at[: 2 * size[0], : 2 * size[1]].set(block)


@transformed.register
def _(layer: Block, x, condition):
    return layer.around(x, transformed(layer.bijection, layer.inside(x), condition))


@inverted.register
def _(layer: Block, y, condition):
    return layer.around(y, inverted(layer.bijection, layer.inside(y), condition))


pushforward.register(Block, by_columns)


@push_columns.register
def _(layer: Block, x, columns, condition):
    moved, inside = push_columns(layer.bijection, layer.inside(x), layer.inside(columns), condition)
    return layer.around(x, moved), layer.around(columns, inside)


def multiscale_stack(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    *,
    cond_dim: int | None = None,
    layers: int = 4,
    affine: bool = True,
    bins: int = 6,
    interval: float = 6.0,
    width: int = 32,
    blocks: int = 1,
) -> Chain:
    """A multi-scale bijection of images, close to the identity.

    Levels are as many as there are sizes above 4 pixels to which the image can be halved.

    Args:
        key: Random key for the initial weights.
        shape: Shape (H, W, C).
        cond_dim: Dimension of the condition, ``None`` for an unconditional bijection.
        layers: Number of steps at every level.
        affine: Scale and shift (``mflows.layers.affine``) in place of splines.
        bins: Number of spline bins.
        interval: Half width of the splines' interval.
        width: Channels of the networks' hidden layers.
        blocks: Number of their residual blocks.

    Raises:
        ValueError: If the image cannot be halved once.
    """
    check_depth("layers", layers)
    halved = halves(shape)
    of = transformer_of(affine=affine, bins=bins, interval=interval)
    channels = 4 * shape[-1]
    moving = step(channels)
    down, up = [], []
    for level, size in enumerate(halved):
        inner = (*size, channels)

        def one(key, order, inner=inner):
            network = ConvolutionalResidual(
                key,
                (inner[0], inner[1], channels - moving),
                of.parameters * moving,
                cond_size=cond_dim,
                width=width,
                blocks=blocks,
                scale=IDENTITY_SCALE,
            )
            return Step(ChannelMix(inner), ImageCoupling(network, of, inner, cond_dim), order)

        *keys, order_key = jr.split(jr.fold_in(key, level), layers + 1)
        orders = permutations(order_key, channels, layers)
        stack = Stack(eqx.filter_vmap(one)(jnp.stack(keys), orders))
        wavelets = Haar(shape, size)
        down.append(Invert(wavelets))
        up = [Block(stack, shape), wavelets, *up]
    return Chain([*down, *up])
