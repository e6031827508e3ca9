r"""Convolutional networks of images (H, W, C).

All are put together from a `Stage`: a convolution, with a bias for every pixel, by which the
network knows where in the image it is, then pre-activation residual blocks, as those of
`ResidualMLP`. `ConvolutionalResidual` is the conditioner of a coupling layer.
`ConvolutionalEncoder` halves an image, given as D numbers, until n numbers can be made of it;
`ConvolutionalDecoder` doubles one that is made of n numbers. The pixels of a square of four are
channels of one place, so that no stage has as many places as the image has pixels.
"""

import math
from collections.abc import Sequence
from functools import partial

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
)
from mflows.nets.patches import from_patches, patches
from mflows.nets.residual import check_depth

SMALLEST = 4
"""Side of an image from which on it is not halved any more."""


class Convolution(eqx.Module):
    """A convolution of one image, whose borders are filled up with zeros.

    Its numbers are the bounds of an initial draw, 1 / sqrt(inputs of an output).

    Args:
        inputs: Number of channels that come in.
        outputs: Number of channels that go out.
        size: Side of the kernel.
        stride: 2 halves the image.
    """

    weight: Float[Array, "size size inputs outputs"]
    bias: Float[Array, " outputs"]
    stride: int = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1):
        bound = (max(inputs, 1) * size**2) ** -0.5
        self.weight = jnp.full((size, size, inputs, outputs), bound)
        self.bias = jnp.full(outputs, bound)
        self.stride = stride

    def __call__(self, x: Float[Array, "H W inputs"]) -> Float[Array, "h w outputs"]:
        ways = {
            "cpu": partial(by_patches, step=self.stride),
            "default": partial(convolved, step=self.stride),
        }
        with full_precision():
            return jax.lax.platform_dependent(x, self.weight, **ways) + self.bias


def convolved(x: Array, weight: Array, step: int) -> Array:
    """The convolution as XLA has it."""
    order = ("NHWC", "HWIO", "NHWC")
    steps = (step, step)
    return jax.lax.conv_general_dilated(x[None], weight, steps, "SAME", dimension_numbers=order)[0]


def by_patches(x: Array, weight: Array, step: int) -> Array:
    """The same as a product of matrices.

    Within a loop, as training is, XLA's takes 30 times as long on a CPU (jax issue 12868).
    """
    kernel = weight.reshape(-1, weight.shape[-1])
    return jnp.tensordot(jnp.concatenate(shifted(x, len(weight), step), axis=-1), kernel, 1)


def shifted(x: Float[Array, "H W C"], size: int, step: int) -> list[Float[Array, "h w C"]]:
    """What each number of a kernel of this side meets, row by row; beyond borders are zeros."""
    outs = [-(-side // step) for side in x.shape[:2]]
    spans = [(out - 1) * step + 1 for out in outs]
    lacking = [max(span + size - 1 - n, 0) for span, n in zip(spans, x.shape[:2], strict=True)]
    x = jnp.pad(x, [*((n // 2, n - n // 2) for n in lacking), (0, 0)])
    return [
        x[i : i + spans[0] : step, j : j + spans[1] : step]
        for i in range(size)
        for j in range(size)
    ]


class Stage(eqx.Module):
    """A convolution and residual blocks of a 3x3 and a 1x1 convolution each.

    Its numbers are the bounds of an initial draw.

    Args:
        inputs: Number of channels that come in.
        shape: Shape (h, w, width) of what goes out.
        cond_size: Number of components of the condition, ``None`` for a stage without.
        blocks: Number of residual blocks.
        stride: 2 halves the image.
    """

    first: Convolution
    place: Float[Array, "h w width"]
    given: Linear | None
    blocks: tuple[tuple[Convolution, Convolution], ...]

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        *,
        cond_size: int | None,
        blocks: int,
        stride: int = 1,
    ):
        check_depth("blocks", blocks, least=0)
        width = shape[-1]
        self.first = Convolution(inputs, width, stride=stride)
        self.place = jnp.zeros(shape)
        self.blocks = tuple(
            (Convolution(width, width), Convolution(width, width, 1)) for _ in range(blocks)
        )
        self.given = of_condition(cond_size, width)

    def __call__(
        self, x: Float[Array, "H W inputs"], condition: Float[Array, " c"] | None
    ) -> Float[Array, "h w width"]:
        h = with_condition(self.first(x) + self.place, self.given, condition)
        for a, b in self.blocks:
            h = h + b(jax.nn.silu(a(jax.nn.silu(h))))
        return h


class ConvolutionalResidual(eqx.Module):
    """A network from images to images of the same size.

    Args:
        key: Random key for the initial weights.
        shape: Shape (H, W, C) of an image that comes in.
        outputs: Number of channels that go out.
        cond_size: Number of components of the condition, ``None`` for a network without.
        width: Channels of every hidden layer.
        blocks: Number of residual blocks.
        scale: Factor on the initial weights of the last layer.
    """

    stage: Stage
    last: Convolution

    def __init__(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        cond_size: int | None = None,
        width: int = 32,
        blocks: int = 1,
        scale: float = 1.0,
    ):
        stage = Stage(shape[-1], (*shape[:2], width), cond_size=cond_size, blocks=blocks)
        self.stage, last = drawn(key, (stage, Convolution(width, outputs)))
        self.last = jax.tree.map(lambda leaf: leaf * scale, last)

    def __call__(
        self, x: Float[Array, "H W C"], condition: Float[Array, " c"] | None = None
    ) -> Float[Array, "H W outputs"]:
        return self.last(jax.nn.silu(self.stage(x, condition)))


class ConvolutionalEncoder(eqx.Module):
    """A network from images, given as D numbers, to n numbers.

    Args:
        key: Random key for the initial weights.
        shape: Shape (H, W, C) of an image.
        out_size: Number n.
        cond_size: Number of components of the condition, ``None`` for a network without.
        width: Channels of the first stage; the next two each have twice as many.
        blocks: Number of residual blocks of a stage.
    """

    stages: tuple[Stage, ...]
    last: Linear
    shape: tuple[int, ...] = eqx.field(static=True)
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
        width: int = 32,
        blocks: int = 1,
    ):
        self.shape, self.in_size, self.out_size = shape, math.prod(shape), out_size
        self.cond_size = cond_size
        stages, inputs = [], 4 * shape[-1]
        for level, size in enumerate(_stages(shape, width)):
            stride = 2 if level else 1
            stages.append(Stage(inputs, size, cond_size=cond_size, blocks=blocks, stride=stride))
            inputs = size[-1]
        last = limits(stages[-1].place.size, out_size)
        self.stages, self.last = drawn(key, (tuple(stages), last))

    def __call__(
        self, x: Float[Array, " D"], condition: Float[Array, " c"] | None = None
    ) -> Float[Array, " n"]:
        h = patches(x.reshape(self.shape), 2)
        for stage in self.stages:
            h = jax.nn.silu(stage(h, condition))
        return self.last(h.ravel())


class ConvolutionalDecoder(eqx.Module):
    """A network from n numbers to images, given as D numbers.

    Arguments are those of `ConvolutionalEncoder`, with ``in_size`` for n. An image is doubled by
    repeating its pixels before a convolution.
    """

    first: Linear
    stages: tuple[Stage, ...]
    last: Convolution
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
        width: int = 32,
        blocks: int = 1,
    ):
        self.in_size, self.out_size, self.cond_size = in_size, math.prod(shape), cond_size
        sizes = _stages(shape, width)[::-1]
        stages, inputs = [], sizes[0][-1]
        for size in sizes:
            stages.append(Stage(inputs, size, cond_size=cond_size, blocks=blocks))
            inputs = size[-1]
        bounds = (
            limits(in_size, math.prod(sizes[0])),
            tuple(stages),
            Convolution(width, 4 * shape[-1]),
        )
        self.first, self.stages, self.last = drawn(key, bounds)

    def __call__(
        self, u: Float[Array, " n"], condition: Float[Array, " c"] | None = None
    ) -> Float[Array, " D"]:
        h = self.first(u).reshape(self.stages[0].place.shape)
        for level, stage in enumerate(self.stages):
            if level:
                h = jnp.repeat(jnp.repeat(h, 2, axis=0), 2, axis=1)
            h = stage(jax.nn.silu(h), condition)
        return from_patches(self.last(jax.nn.silu(h)), 2).ravel()


def halves(shape: Sequence[int]) -> list[tuple[int, int]]:
    """Sizes of an image that is halved while both sides are even and above 4, without its own.

    Raises:
        ValueError: If it cannot be halved once.
    """
    found, (rows, columns) = [], shape[:2]
    while min(rows, columns) > SMALLEST and not (rows % 2 or columns % 2):
        rows, columns = rows // 2, columns // 2
        found.append((rows, columns))
    if not found:
        raise ValueError(
            f"Expected an image of an even number of rows and columns, above {SMALLEST}; got "
            f"{rows} x {columns}. Resize it, for example to 32 x 32."
        )
    return found


def _stages(shape: Sequence[int], width: int) -> list[tuple[int, int, int]]:
    """Shapes (h, w, channels) of the stages of an encoder."""
    return [(*size, width * 2 ** min(level, 2)) for level, size in enumerate(halves(shape))]
