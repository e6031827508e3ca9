"""Pictures of 8-bit levels as points: their unit, dequantisation and mirror images.

Level k of 0, ..., 255 stands for the interval [k / 256, (k + 1) / 256) of brightness; as a point it
is the middle, (k + 1/2) / 256. Single precision holds these numbers exactly, and k = floor(256 x)
gives the level back, whether or not the point was dequantised. Dequantised, it is

    x = (k + U) / 256,    U uniform on (0, 1)

(Theis, van den Oord & Bethge 2016, arXiv 1511.01844), so that a density cannot grow without bound
on the 256 values. For a density of all D numbers log p(x) = log p(k + U) + D log 256; for one on an
n-dimensional manifold it is n log 256.
"""

from dataclasses import replace

import numpy as np

from mflows.data.checks import DataError
from mflows.data.data import Data
from mflows.data.moments import alike

LEVELS = 256
STEPS = 1 << 15
"""Values of U: the middles of so many intervals. With 8 bits of a level they are 24, those of
single precision, so that no point is rounded to the next level."""


def from_levels(levels: np.ndarray) -> np.ndarray:
    """Levels 0, ..., 255 as points in (0, 1), float32: (k + 1/2) / 256."""
    return (levels.astype(np.float32) + np.float32(0.5)) / np.float32(LEVELS)


def to_levels(x: np.ndarray) -> np.ndarray:
    """Points as the nearest of the levels 0, ..., 255, uint8: floor(256 x), clipped."""
    return np.floor(np.asarray(x) * LEVELS).clip(0, LEVELS - 1).astype(np.uint8)


def dequantised(data: Data, seed: int | tuple[int, ...]) -> Data:
    """Pictures whose levels are spread uniformly over their intervals, once and for all.

    Raises:
        DataError: If the points are no pictures of 8-bit levels, or stay in their file.
    """
    _check_pictures(data, "dequantise")
    x = data.x
    if not np.array_equal(from_levels(to_levels(x)), x):
        raise DataError(
            "Expected pictures of 8-bit levels to dequantise: a folder of pictures, or an array of "
            f"uint8; got other numbers, from {x.min():.3g} to {x.max():.3g}."
        )
    rng = np.random.default_rng(seed)
    noise = rng.integers(STEPS, size=x.shape, dtype=np.uint16).astype(np.float32)
    spread = (to_levels(x) + (noise + np.float32(0.5)) / np.float32(STEPS)) / np.float32(LEVELS)
    note = "Levels are dequantised: x = (k + U) / 256, of a level k = 0, ..., 255."
    return replace(data, x=spread, checked=True, notes=(*data.notes, note))


def with_mirror_images(data: Data, held_out: Data) -> Data:
    """Pictures (H, W) or (H, W, C), and after them the mirror image (left to right) of each.

    A mirror image that is held out is not added, so that no picture is on both sides of a split.

    Raises:
        DataError: If the points are no pictures, stay in their file, or have joint scores, which
            are not known for mirror images.
    """
    _check_pictures(data, "flips")
    if data.scored:
        raise DataError(
            "Expected pictures without joint scores for flips; got joint scores, which are not "
            "known for mirror images. Leave out the flips, or the condition."
        )
    mirrored = replace(data, x=data.x[:, :, ::-1].copy(), checked=True)
    seen = alike(held_out.x, held_out.condition)
    more = mirrored[~np.isin(alike(mirrored.x, mirrored.condition), seen)]
    both = (
        None if one is None or other is None else np.concatenate([one, other])
        for one, other in (
            (data.x, more.x),
            (data.condition, more.condition),
            (data.weight, more.weight),
        )
    )
    x, condition, weight = both
    assert x is not None
    note = f"Beside {len(data):,} pictures to train on are {len(more):,} mirror images."
    notes = (*data.notes, note)
    return replace(data, x=x, condition=condition, weight=weight, checked=True, notes=notes)


def _check_pictures(data: Data, option: str) -> None:
    """Raise `DataError` unless the points are pictures in memory."""
    if len(data.shape) not in (2, 3):
        got = f"rows of {data.shape[0]} columns" if len(data.shape) == 1 else f"{data.shape}"
        raise DataError(
            f"Expected pictures, points of shape (H, W, C), for {option}; got {got}. Leave out the "
            f"option ({option}=False, no --{option} on the command line)."
        )
    if data.mapped:
        raise DataError(
            f"Expected pictures in memory for {option}; got pictures that stay in their file. "
            "Load them (--in-memory on the command line)."
        )
