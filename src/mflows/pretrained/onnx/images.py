"""Operators of ONNX on images (N, C, H, W): convolutions, pools, borders, sizes.

Convolutions are products of matrices. XLA's own take many times as long within a loop on a CPU, and
images are made in loops.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mflows.pretrained.onnx.node import Node, Value, integers, operator

Sizes = Sequence[int]


def _patches(x: Value, kernel: Sizes, strides: Sizes, dilations: Sizes) -> Value:
    """What each number of a kernel meets, shape ``(K, N, C, *out)``."""
    outs = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)
    ]
    if min(outs) < 1:
        raise ValueError(f"Expected images as large as the kernel {tuple(kernel)}; got {x.shape}.")
    found = []
    for offset in np.ndindex(*kernel):
        starts = [i * d for i, d in zip(offset, dilations, strict=True)]
        parts = [
            slice(at, at + (n - 1) * s + 1, s)
            for at, n, s in zip(starts, outs, strides, strict=True)
        ]
        found.append(x[(slice(None), slice(None), *parts)])
    return jnp.stack(found)


def _window(node: Node, kernel: Sizes) -> tuple[list[int], list[int]]:
    ones = [1] * len(kernel)
    return list(node.get("strides", ones)), list(node.get("dilations", ones))


def _borders(node: Node, sizes: Sizes, kernel: Sizes) -> list[tuple[int, int]]:
    """Numbers added before and after each axis of an image."""
    strides, dilations = _window(node, kernel)
    way = node.get("auto_pad", "NOTSET")
    if way in ("NOTSET", "VALID"):
        pads = node.get("pads", [0] * 2 * len(kernel)) if way == "NOTSET" else [0] * 2 * len(kernel)
        return list(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    found = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        found.append(_halves(total, upper=way == "SAME_UPPER"))
    return found


def _halves(total: int, *, upper: bool) -> tuple[int, int]:
    """A number in two halves, of an odd one the larger half after or before."""
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


@operator("Conv")
def _conv(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Value:
    kernel, groups = weight.shape[2:], node.get("group", 1)
    borders = _borders(node, x.shape[2:], kernel)
    patches = _patches(jnp.pad(x, [(0, 0), (0, 0), *borders]), kernel, *_window(node, kernel))
    outs = patches.shape[3:]
    patches = patches.reshape(len(patches), len(x), groups, -1, math.prod(outs))
    weight = weight.reshape(groups, -1, weight.shape[1], len(patches))
    y = jnp.einsum("kngcp,gock->ngop", patches, weight)
    return _with_bias(y.reshape(len(x), -1, *outs), bias)


@operator("ConvTranspose")
def _conv_transpose(node: Node, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """Every pixel paints a kernel."""
    kernel, groups, sizes = weight.shape[2:], node.get("group", 1), x.shape[2:]
    strides, dilations = _window(node, kernel)
    extra = node.get("output_padding", [0] * len(kernel))
    full = [
        (size - 1) * s + (k - 1) * d + 1
        for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    flat = x.reshape(len(x), groups, -1, math.prod(sizes))
    weight = weight.reshape(groups, -1, weight.shape[1], math.prod(kernel))
    painted = jnp.einsum("ngcp,gcok->kngop", flat, weight)
    painted = painted.reshape(len(painted), len(x), -1, *sizes)
    y = jnp.zeros((*painted.shape[1:3], *full), painted.dtype)
    for offset, part in zip(np.ndindex(*kernel), painted, strict=True):
        starts = [i * d for i, d in zip(offset, dilations, strict=True)]
        places = [
            (at, all_of - at - (size - 1) * s - 1, s - 1)
            for at, all_of, size, s in zip(starts, full, sizes, strides, strict=True)
        ]
        y = y + jax.lax.pad(part, jnp.zeros((), part.dtype), [(0, 0, 0), (0, 0, 0), *places])
    cut = _cut(node, sizes, strides, full, extra)
    ends = [(-before, more - after, 0) for (before, after), more in zip(cut, extra, strict=True)]
    y = jax.lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), (0, 0, 0), *ends])
    return _with_bias(y, bias)


def _cut(
    node: Node, sizes: Sizes, strides: Sizes, full: Sizes, extra: Sizes
) -> list[tuple[int, int]]:
    """Numbers cut off before and after each axis of a transposed convolution."""
    way, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if wanted is None and way in ("NOTSET", "VALID"):
        pads = node.get("pads", [0] * 2 * len(sizes)) if way == "NOTSET" else [0] * 2 * len(sizes)
        return list(zip(pads[: len(sizes)], pads[len(sizes) :], strict=True))
    if wanted is None:
        wanted = [size * s for size, s in zip(sizes, strides, strict=True)]
    return [
        _halves(max(all_of + more - out, 0), upper=way == "SAME_UPPER")
        for all_of, more, out in zip(full, extra, wanted[-len(sizes) :], strict=True)
    ]


def _with_bias(y: Value, bias: Value | None) -> Value:
    return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))


@operator("AveragePool")
def _average_pool(node: Node, x: Value) -> Value:
    node.refuse(ceil_mode=0)
    kernel = node.attributes["kernel_shape"]
    borders = [(0, 0), (0, 0), *_borders(node, x.shape[2:], kernel)]
    window = kernel, *_window(node, kernel)
    total = _patches(jnp.pad(x, borders), *window).sum(axis=0)
    counted = jnp.pad(jnp.ones_like(x), borders, constant_values=node.get("count_include_pad", 0))
    return total / _patches(counted, *window).sum(axis=0)


@operator("GlobalAveragePool")
def _global_average_pool(node: Node, x: Value) -> Value:
    return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("DepthToSpace")
def _depth_to_space(node: Node, x: Value) -> Value:
    size, (n, channels, high, wide) = node.attributes["blocksize"], x.shape
    if node.get("mode", "DCR") == "DCR":
        parts = x.reshape(n, size, size, -1, high, wide).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, -1, size, size, high, wide).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, channels // size**2, high * size, wide * size)


@operator("Pad")
def _pad(
    node: Node,
    x: Value,
    pads: Value | None = None,
    value: Value | None = None,
    axes: Value | None = None,
) -> Value:
    widths = integers(pads, "pads") or node.attributes["pads"]
    chosen = integers(axes, "axes") or tuple(range(x.ndim))
    borders = [(0, 0)] * x.ndim
    for axis, low, high in zip(chosen, widths[: len(chosen)], widths[len(chosen) :], strict=True):
        borders[axis] = (low, high)
    mode = node.get("mode", "constant")
    if mode != "constant":
        return jnp.pad(x, borders, mode)
    value = jnp.asarray(node.get("value", 0.0) if value is None else value, x.dtype).reshape(())
    return jax.lax.pad(x, value, [(*both, 0) for both in borders])


@operator("Resize", "Upsample")
def _resize(node: Node, x: Value, *more: Value | None) -> Value:
    """Nearest or linear, axis by axis."""
    node.refuse(antialias=0, keep_aspect_ratio_policy="stretch", exclude_outside=0)
    scales, sizes = _scales(node, more)
    axes = node.get("axes", range(x.ndim))
    old = node.kind == "Upsample" or node.opset < 11
    way = "asymmetric" if old else node.get("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else node.get("nearest_mode", "round_prefer_floor")
    mode = node.get("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear"):
        raise ValueError(f"Expected the mode 'nearest' or 'linear'; got {mode!r}.")
    for i, axis in enumerate(axes):
        size = x.shape[axis]
        out = int(np.floor(size * scales[i])) if sizes is None else sizes[i]
        scale = scales[i] if sizes is None else out / size
        if out == size and scale == 1:
            continue
        at = _places(way, size, out, scale)
        if mode == "nearest":
            x = jnp.take(x, _rounded(rounding, at).clip(0, size - 1), axis=axis)
            continue
        below = np.floor(at).astype(int)
        share = (at - below).reshape(-1, *[1] * (x.ndim - 1 - axis))
        low, high = (jnp.take(x, (below + j).clip(0, size - 1), axis=axis) for j in (0, 1))
        x = (1 - share) * low + share * high
    return x


def _scales(node: Node, more: Sequence[Value | None]) -> tuple[list[float], list[int] | None]:
    """Factors of the axes, or their sizes."""
    given = [*more, None, None, None]
    if node.kind == "Upsample" or node.opset < 11:
        scales, sizes = node.get("scales", given[0]), None
    else:
        scales, sizes = given[1], integers(given[2], "sizes")
    if scales is not None and isinstance(scales, jax.Array):
        raise ValueError("Expected scales that do not depend on the latent vector.")
    factors = [] if scales is None else [float(each) for each in np.ravel(scales)]
    return factors, None if factors else list(sizes or ())


def _places(way: str, size: int, out: int, scale: float) -> np.ndarray:
    """Where the pixels of the new axis are on the old one."""
    i = np.arange(out)
    match way:
        case "half_pixel":
            return (i + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (i + 0.5) / scale - 0.5 if out > 1 else np.zeros(out)
        case "asymmetric":
            return i / scale
        case "align_corners":
            return i * (size - 1) / max(out - 1, 1)
    raise ValueError(f"Expected coordinates that are known here; got {way!r}.")


def _rounded(rounding: str, at: np.ndarray) -> np.ndarray:
    ways = {
        "round_prefer_floor": lambda: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda: np.floor(at + 0.5),
        "floor": lambda: np.floor(at),
        "ceil": lambda: np.ceil(at),
    }
    return ways[rounding]().astype(int)
