"""What all builders share: flows remember them, shapes are checked, latent densities are alike."""

import inspect
import json
import math
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
from flowjax.bijections import AbstractBijection, Chain, Concatenate, Identity, Invert
from flowjax.distributions import StandardNormal, Transformed
from jaxtyping import PRNGKeyArray

from mflows.charts import Placement, multiscale_stack, patch_stack, shaped, spline_stack
from mflows.conditions import Conditions
from mflows.flow import QUANTILES, Flow
from mflows.keys import checked
from mflows.nets import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    FreeDecoder,
    FreeEncoder,
    PatchDecoder,
    PatchEncoder,
    SkipMLP,
)

IMAGE_DECODERS: dict[str, Callable[..., FreeDecoder]] = {
    "convolutional": ConvolutionalDecoder,
    "transformer": PatchDecoder,
}
IMAGE_ENCODERS: dict[str, Callable[..., FreeEncoder]] = {
    "convolutional": ConvolutionalEncoder,
    "transformer": PatchEncoder,
}
NETWORKS = ("dense", *IMAGE_DECODERS)
LARGE, LARGE_RANK, IMAGE_RANK = 1000, 256, 64
"""Features up to which a chart bends in all directions; in how many of more features, and before
layers of images, it bends at least."""
MANY, MIXED = 8, 100
"""Features from which on, and up to which, data are given more layers, and LU maps of them all."""


def by_size(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a builder, with those that are ``None`` chosen by the number of features D.

    Below D = 8 charts are 3 spline layers, and densities as many with 10 bins. From there on charts
    are 6 affine layers of deeper networks, which find a smoother manifold in less time, up to D =
    100 with LU maps, and densities 6 layers with 6 bins (docs/log/2026-11-29-defaults-by-size.md).
    """
    features = arguments.get("rank") or point(arguments["shape"])[1]
    if arguments.get("network") in IMAGE_DECODERS:  # the layers of vectors see few directions
        features = IMAGE_RANK
    many = features >= MANY
    chosen = {
        "chart_layers": 6 if many else 3,
        "latent_layers": 6 if many else 3,
        "linear": MANY <= features <= MIXED,
        "bins": 6 if many else 10,
        "blocks": 2 if many else 1,
        "affine": many,
    }
    return {name: chosen.get(name) if value is None else value for name, value in arguments.items()}


def affine_if_turned(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an ambient builder, with ``affine``, if it is ``None``, where data are turned.

    Principal directions of many features vary by tens of standard deviations, and splines do
    nothing beyond ``interval``.
    """
    if arguments["affine"] is not None:
        return arguments
    images = arguments["network"] != "dense" and "latent_dim" in arguments
    dim = point(arguments["shape"])[1]
    return {**arguments, "affine": images or (arguments["rank"] or dim) < dim}


def remembered(
    build: Callable[..., Flow],
    *,
    name: str | None = None,
    filled: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Callable[..., Flow]:
    """Let flows remember their builder and its arguments, so that they can be saved and rebuilt.

    A decorator for a builder of one's own:

        @mf.models.remembered
        def bent(key, shape, *, layers=3):
            ...
            return mf.Flow(chart, latent)

        mf.save(folder, bent(key, (3,)))
        flow = mf.load(folder, build=bent)

    Args:
        build: Function ``(key, ...) -> Flow``. The key is its only source of arrays; all other
            arguments are what JSON can hold: numbers, strings, lists and ``None``. It is compiled.
        name: Name under which flows remember it, that of the function by default.
        filled: The arguments, but for the key, with those filled in that are left to be chosen.
    """
    signature = inspect.signature(build)
    compiled = eqx.filter_jit(build)  # one program, not one for each random draw
    name = build.__name__ if name is None else name

    @wraps(build)
    def builder(key: PRNGKeyArray, *args, **kwargs) -> Flow:
        bound = signature.bind(checked(key), *args, **kwargs)
        bound.apply_defaults()
        arguments = {name: value for name, value in bound.arguments.items() if name != "key"}
        arguments = filled(jax.tree.map(_plain, arguments))
        for argument, value in arguments.items():
            if type(value) is int and value >= 1 << 31:
                raise ValueError(f"Expected {argument} < 2^31; got {value}.")
        flow = compiled(key, **arguments)
        built = name, json.dumps(arguments, sort_keys=True)
        known: Any = {"conditions": flow.conditions, "distances": flow.distances, "built": built}
        if flow.cond_shape is not None:
            known["distances"] = np.full(QUANTILES, np.inf)
        return Flow(flow.chart, flow.latent, flow.volume, **known)

    builder.__name__ = name
    return builder


def _plain(setting):
    """A setting as Python has it, not NumPy, which would be traced and is not JSON."""
    return setting.tolist() if isinstance(setting, np.generic | np.ndarray) else setting


def point(shape) -> tuple[tuple[int, ...], int]:
    """The shape of a data point, in integers, and the number D of its features."""
    if not isinstance(shape, Sequence | np.ndarray):
        raise ValueError(
            f"Expected the shape of a data point, such as ({shape},) for {shape} columns; got "
            f"{shape!r}."
        )
    shape = tuple(int(size) for size in shape)
    if not shape or min(shape) < 1:
        raise ValueError(f"Expected the shape of a data point, such as (D,); got {shape}.")
    return shape, math.prod(shape)


def vector(shape) -> int:
    """The size D of a shape (D,); ``ValueError`` for the shape of anything but a vector."""
    if not isinstance(shape, Sequence | np.ndarray) or len(shape) != 1:
        raise ValueError(f"Expected the shape (D,) of a vector; got {shape!r}.")
    return int(shape[0])


def size(cond_shape) -> int | None:
    """Number of components of a condition, ``None`` without one."""
    return None if cond_shape is None else vector(cond_shape)


def conditions(cond_shape) -> Conditions | None:
    """Conditions to be placed on data, ``None`` without any."""
    return None if cond_shape is None else Conditions.identity((vector(cond_shape),))


def spline_flow(
    key: PRNGKeyArray, latent_dim: int, cond_dim: int | None, *, layers: int, **settings
) -> Transformed:
    """A spline flow on R^n that is placed on the encoded data before its phase of training.

    Args:
        key: Random key for the initial weights.
        latent_dim: Dimension n.
        cond_dim: Number of components of the condition theta, or ``None``.
        layers: Number of spline coupling layers.
        **settings: Further arguments of ``mflows.charts.spline_stack``.
    """
    stack = spline_stack(key, latent_dim, cond_dim=cond_dim, layers=layers, **settings)
    return Transformed(
        StandardNormal((latent_dim,)), Chain([Invert(stack), Placement.identity(latent_dim)])
    )


class Parts(NamedTuple):
    """What a chart that bends by coupling layers is put together from, and the density on it.

    Args:
        bijection: The layers between the plane of the first axes and the placement.
        placement: Where the chart sits in data space.
        latent: The density.
    """

    bijection: AbstractBijection
    placement: Placement
    latent: Transformed


def coupling_parts(
    keys: Iterable[PRNGKeyArray],
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None,
    conditional: bool,
    layers: tuple[int, int],
    *,
    rank: int | None = None,
    affine: bool = False,
    tails: bool = False,
    network: str = "dense",
    channels: int = 32,
    image_layers: int = 4,
    **settings: Any,
) -> Parts:
    """The parts of a chart of coupling layers, and a `spline_flow` for the density on it.

    Args:
        keys: Random keys for either.
        shape: Shape of a data point, of D features.
        latent_dim: Dimension n of the density.
        cond_shape: Shape (C,) of the condition theta, or ``None``.
        conditional: Let the bijection depend on theta too.
        layers: Number of coupling layers of either.
        rank: Number of directions in which layers of vectors bend, the first ones; ``None`` for
            all, or before layers of images for 64 or 4 n.
        affine: Whether the layers of the bijection are affine.
        tails: Whether columns may have heavy tails.
        network: ``"convolutional"`` adds the layers of `mflows.charts.multiscale_stack`,
            ``"transformer"`` those of `mflows.charts.patch_stack`.
        channels: Channels of the networks of the first.
        image_layers: Number of layers of the first at every level, or of the second.
        **settings: Further arguments of ``mflows.charts.spline_stack``.
    """
    chart_key, latent_key = keys
    dim, cond_dim = math.prod(shape), size(cond_shape)
    images = sees_images(network, shape)
    check_rank(rank, latent_dim, dim)
    if rank is None and images:
        rank = directions(network, shape, latent_dim)
    bent = rank or dim
    own: Any = {"cond_dim": cond_dim if conditional else None, "affine": affine}
    stack = spline_stack(chart_key, bent, layers=layers[0], **own, **settings)
    if bent < dim:
        stack = Concatenate([stack, Identity((dim - bent,))])
    latent = spline_flow(latent_key, latent_dim, cond_dim, layers=layers[1], **settings)
    stack, turned = shaped(stack, shape), rank or latent_dim
    if not images:
        return Parts(stack, Placement.identity(shape, turned, tails=tails), latent)
    own |= {"key": jr.fold_in(chart_key, 1), "shape": shape, "layers": image_layers}
    if network == "convolutional":
        local = multiscale_stack(width=channels, **own)
    else:
        local = patch_stack(width=settings["width"], blocks=settings["blocks"], **own)
    turn = Placement.identity(shape, turned)
    return Parts(Chain([stack, turn, local]), Placement.identity(shape, tails=tails), latent)


def check_rank(rank: int | None, latent_dim: int, dim: int) -> None:
    """Raise ``ValueError`` unless n < rank <= D, or there is none."""
    if rank is not None and not latent_dim < rank <= dim:
        raise ValueError(
            f"Expected a rank above the dimension {latent_dim} of the manifold, and at most "
            f"{dim}, the number of features; got {rank}."
        )


def directions(network: str, shape: tuple[int, ...], latent_dim: int) -> int:
    """In how many directions the layers of vectors of a chart bend, unless a rank says it.

    In all of them up to a thousand features; of more in 256 or 4 n, those in which the data vary
    most: an epoch of images of 3,072 numbers then takes a seventh of the time or less, and hardly
    any variance is left out (docs/log/2026-11-29-images.md). Before layers of images 64 or 4 n
    will do.
    """
    dim = math.prod(shape)
    least = LARGE_RANK if network == "dense" else IMAGE_RANK
    return dim if network == "dense" and dim <= LARGE else min(max(least, 4 * latent_dim), dim)


def sees_images(network: str, shape: tuple[int, ...]) -> bool:
    """Whether networks see images.

    Raises:
        ValueError: For a name of no network, or points that are no images.
    """
    if network not in NETWORKS:
        raise ValueError(f"Expected a network out of {', '.join(NETWORKS)}; got {network!r}.")
    if network != "dense" and len(shape) != 3:
        raise ValueError(
            f"Expected images of shape (H, W, C) for {network} networks, which see what is beside "
            f"what; got points of shape {shape}. Take network='dense' (--network dense on the "
            "command line), the default."
        )
    return network != "dense"


def decoder(
    key: PRNGKeyArray, latent_dim: int, shape: tuple[int, ...], *, network: str, **settings: Any
) -> FreeDecoder:
    """A free network from n numbers to a point, given as D numbers."""
    if sees_images(network, shape):
        return IMAGE_DECODERS[network](key, latent_dim, shape, **settings)
    return SkipMLP(key, latent_dim, math.prod(shape), **settings)


def encoder(
    key: PRNGKeyArray, shape: tuple[int, ...], latent_dim: int, *, network: str, **settings: Any
) -> FreeEncoder:
    """A free network from a point, given as D numbers, to n numbers."""
    if sees_images(network, shape):
        return IMAGE_ENCODERS[network](key, shape, latent_dim, **settings)
    return SkipMLP(key, math.prod(shape), latent_dim, **settings)


def placement_for(
    network: str, shape: tuple[int, ...], plane_dim: int, *, tails: bool
) -> Placement:
    """The placement of free networks: those that see images are not turned to a plane."""
    turned = 0 if sees_images(network, shape) else plane_dim
    return Placement.identity(shape, turned, tails=tails)
