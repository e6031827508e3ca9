"""Training data as blocks of rows: an epoch is a pass over all of them, in random order.

Data in memory are one block. Of data in a file every block has ``NUMBERS`` numbers, from ``RUNS``
runs of consecutive rows at random places, and its rows are shuffled again when batches are made, so
that files in any order train well; while one block trains, a thread reads the next.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from paramax import unwrap

from mflows.data import Data, DataError, Mapped, Scratch
from mflows.data.data import by_weight
from mflows.data.mapped import NUMBERS
from mflows.flow import Flow
from mflows.keys import generator
from mflows.layers.box import Box
from mflows.training.phases import Batch, Supervised
from mflows.training.units import Units

Block = Batch | Supervised
Made = TypeVar("Made")
Columns = tuple[np.ndarray | Mapped, *tuple[np.ndarray | Mapped | None, ...]]
"""The fields of a block, off the device."""

RUNS = 8
"""Runs of consecutive rows that make a block: each long enough for a disk."""


class Rows:
    """Training data, on the device or in a file.

    Args:
        sample: All points, or those of a file that are in memory.
        stored: The fields of all points, where they are in a file.
        place: What is done with every block, such as placing it on several devices.
        own: What turns the fields of a block into the flow's own coordinates, on the device.
        weight: How much each point counts, of points in memory.

    Attributes:
        sample: Points from which starts are chosen, and that stand in for held-out ones.
        blocks: Blocks of an epoch.
        points: Points of a block.
    """

    def __init__(
        self,
        sample: Any,  # a Batch until an objective has prepared it
        stored: Columns | None = None,
        place: Callable[[Any], Any] = lambda block: block,
        own: Callable[[Any], Any] | None = None,
        weight: np.ndarray | None = None,
    ):
        self.sample = place(sample)
        self._stored, self._place, self._own, self._weight = stored, place, own, weight
        self.blocks, self.points = 1, sample.x.shape[0]
        if stored is not None:
            width = sum(array.size for array in sample if array is not None) // self.points
            self._count = len(stored[0])
            self.blocks = -(-self._count * width // NUMBERS)
            self._run = max(self._count // (self.blocks * RUNS), 1)
            self._runs = min(RUNS, self._count)
            self.points = self._run * self._runs

    def epoch(self, key: PRNGKeyArray, first: int = 0) -> Iterator[Block]:
        """The blocks of an epoch from the first wanted on, in an order that the key decides."""
        if self._stored is None:
            yield from [self.sample][first:]
            return
        (rng,) = generator(key).spawn(1)  # the key itself orders the rows of a block
        runs = self._count // self._run
        offset = rng.integers(self._count - runs * self._run + 1)
        starts = offset + self._run * rng.permutation(runs)

        def block(index: int) -> Block:
            chosen = np.sort(starts[index * self._runs : (index + 1) * self._runs])
            return self._place(self._block([slice(start, start + self._run) for start in chosen]))

        yield from ahead(block, range(first, self.blocks))

    def order(self, rng: np.random.Generator, points: int) -> np.ndarray:
        """The order in which an epoch sees the points of a block.

        With weights a point is drawn as often as its weight says: so every objective, whatever it
        compares, sees the weighted distribution.
        """
        return rng.permutation(points) if self._weight is None else by_weight(rng, self._weight)

    def prepared(self, prepare: Callable[[Block], Block]) -> "Rows":
        """The rows as an objective prepares them: once, those of a file in a temporary file."""
        sample = prepare(self.sample)
        if self._stored is None:
            return Rows(sample, weight=self._weight)
        stretches = [slice(i, i + self.points) for i in range(0, self._count, self.points)]
        files = [None if array is None else Scratch() for array in sample]
        for block in ahead(lambda index: self._block([stretches[index]]), range(len(stretches))):
            for file, array in zip(files, prepare(block), strict=True):
                if file is not None:
                    file.append(np.asarray(array))
        x, *others = (None if file is None else file.array() for file in files)
        assert x is not None
        return Rows(sample, (x, *others))

    def placed(self, place: Callable[[Any], Any]) -> "Rows":
        """The same rows, every block placed."""
        return Rows(self.sample, self._stored, place, self._own, self._weight)

    def _block(self, parts: list[slice]) -> Block:
        """Stretches of rows one after the other, on the device."""
        fields: Any = [
            None if array is None else np.concatenate([array[part] for part in parts])
            for array in self._stored or ()
        ]
        if self._own is not None:
            return type(self.sample)(*self._own(fields))
        return type(self.sample)(
            *(None if array is None else jnp.asarray(array, dtype=float) for array in fields)
        )


def ahead(make: Callable[[int], Made], indices: Iterable[int]) -> Iterator[Made]:
    """Make things one after the other, the next one while the last one is in use."""
    with ThreadPoolExecutor(1) as thread:
        following = None
        for index in indices:
            made, following = following, thread.submit(make, index)
            if made is not None:
                yield made.result()
        if following is not None:
            yield following.result()


def rows_of(flow: Flow, data: Data, seed: int, units: Units | None = None) -> Rows:
    """Training data as rows for ``flow``, in the coordinates of ``units``.

    Raises:
        ValueError: If data and flow do not fit together.
    """
    units = Units(0.0, None) if units is None else units
    if not data.mapped:
        return Rows(batch_of(flow, data, units), weight=data.weight)
    sample = batch_of(flow, data.sample(len(data), seed), units)
    return Rows(sample, _fields(data), own=lambda fields: units.fields(*fields))


def batch_of(flow: Flow, data: Data, units: Units) -> Batch:
    """Data as objectives see them, on the device and in the coordinates of ``units``.

    Raises:
        ValueError: If data and flow do not fit together.
    """
    check_fits(flow, data)
    return Batch(*units.fields(*_fields(data)))


def check_fits(flow: Flow, data: Data) -> None:
    """Raise ``ValueError`` unless data and flow have points and conditions of one shape."""
    if (data.shape, data.cond_shape) != (flow.shape, flow.cond_shape):
        raise ValueError(
            f"Expected data of shape {flow.shape} with condition {flow.cond_shape} for this flow; "
            f"got {data.shape} with condition {data.cond_shape}."
        )
    check_within(flow, data)


def check_within(flow: Flow, data: Data) -> None:
    """Raise `DataError` for parameters beyond the bounds of their prior, where the flow has any."""
    box = getattr(flow.chart, "bijection", None)
    if not isinstance(box, Box):
        return
    box = unwrap(box)
    for piece in data.pieces():
        theta = piece.x
        low, high = (np.asarray(end).astype(theta.dtype) for end in (box.low, box.high))
        for row, i in np.argwhere((theta < low) | (theta > high))[:1]:
            raise DataError(
                f"Expected {data.names[i]} from {low[i]:g} to {high[i]:g}, the bounds of its "
                f"prior; got {theta[row, i]:g}."
            )


def _fields(data: Data) -> Columns:
    return data.x, data.condition, data.joint_score
