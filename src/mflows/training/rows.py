"""Training data as blocks of rows: an epoch is a pass over all of them, in random order.

Data in memory are one block. Of a stream every block is put together from ``RUNS`` runs of
consecutive rows at random places of the file, and its rows are shuffled again when batches are
made, so that files in any order train well; while one block trains, a thread reads the next.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows.data import Data, Stream
from mflows.flow import Flow
from mflows.keys import generator
from mflows.training.phases import Batch, Supervised

Block = Batch | Supervised
Made = TypeVar("Made")
Columns = tuple[np.ndarray | None, ...]
"""The fields of a block, off the device."""

NUMBERS = 1 << 24
"""Numbers in a block of a stream: 64 MB in float32."""
RUNS = 8
"""Runs of consecutive rows that make a block: each long enough for a disk."""


class Rows(Protocol):
    """Training data, whatever they lie in."""

    @property
    def blocks(self) -> int:
        """Blocks of an epoch."""
        ...

    @property
    def points(self) -> int:
        """Points of a block."""
        ...

    @property
    def sample(self) -> Any:  # a Batch until an objective has prepared it
        """Points from which starts are chosen, and that stand in for held-out ones.

        All points, or as many random ones as fit into memory.
        """
        ...

    def epoch(self, key: PRNGKeyArray, first: int = 0) -> Iterator[Block]:
        """The blocks of an epoch from the first wanted on, in an order that the key decides."""
        ...

    def prepared(self, prepare: Callable[[Block], Block]) -> AbstractContextManager["Rows"]:
        """A context in which the rows are those that an objective prepared."""
        ...

    def placed(self, place: Callable[[Block], Block]) -> "Rows":
        """The same rows, every block placed, such as on several devices."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Rows that are on the device, one block."""

    sample: Any
    blocks: int = 1

    @property
    def points(self) -> int:
        return self.sample.x.shape[0]

    def epoch(self, key: PRNGKeyArray, first: int = 0) -> Iterator[Block]:
        yield from [self.sample][first:]

    @contextmanager
    def prepared(self, prepare: Callable[[Block], Block]):
        yield InMemory(prepare(self.sample))

    def placed(self, place: Callable[[Block], Block]) -> "InMemory":
        return InMemory(place(self.sample))


class Streamed:
    """Rows that are read when they are needed.

    Args:
        read: Function from start and stop to these rows.
        count: Number of rows N.
        sample: Random rows, in memory.
        place: What is done with every block of an epoch.
    """

    def __init__(
        self,
        read: Callable[[int, int], Columns],
        count: int,
        sample: Block,
        place: Callable[[Block], Block] = lambda block: block,
    ):
        self.sample = place(sample)
        self._read, self._count, self._place = read, count, place
        numbers = sum(array.size for array in sample if array is not None)
        width = numbers // sample.x.shape[0]
        self.blocks = -(-count * width // NUMBERS)
        self._run = max(count // (self.blocks * RUNS), 1)
        self._runs = min(RUNS, count)
        self.points = self._run * self._runs

    def epoch(self, key: PRNGKeyArray, first: int = 0) -> Iterator[Block]:
        (rng,) = generator(key).spawn(1)  # the key itself orders the rows of a block
        runs = self._count // self._run
        offset = rng.integers(self._count - runs * self._run + 1)
        starts = offset + self._run * rng.permutation(runs)

        def block(index: int) -> Block:
            chosen = np.sort(starts[index * self._runs : (index + 1) * self._runs])
            parts = [self._read(start, start + self._run) for start in chosen]
            return self._place(self._block(parts))

        yield from ahead(block, range(first, self.blocks))

    @contextmanager
    def prepared(self, prepare: Callable[[Block], Block]):
        """The rows are prepared once, in their order, and written to a temporary folder."""
        sample = prepare(self.sample)
        starts = range(0, self._count, self.points)

        def stretch(index: int) -> Block:
            start = starts[index]
            return self._block([self._read(start, min(start + self.points, self._count))])

        with tempfile.TemporaryDirectory(prefix="mflows-") as folder:
            spool = _Spool(Path(folder), sample)
            for block in ahead(stretch, range(len(starts))):
                spool.write(prepare(block))
            yield Streamed(spool.read, self._count, sample)

    def placed(self, place: Callable[[Block], Block]) -> "Streamed":
        return Streamed(self._read, self._count, self.sample, place)

    def _block(self, parts: list[Columns]) -> Block:
        """Parts one after the other, on the device."""
        fields: Any = (
            None if arrays[0] is None else jnp.asarray(np.concatenate(arrays), dtype=float)
            for arrays in zip(*parts, strict=True)
        )
        return type(self.sample)(*fields)


class _Spool:
    """Blocks written one after the other, a plain file for each of their fields."""

    def __init__(self, folder: Path, like: Block):
        self._fields = [
            None if array is None else (folder / name, array.dtype, array.shape[1:])
            for name, array in like._asdict().items()
        ]

    def write(self, block: Block) -> None:
        for field, array in zip(self._fields, block, strict=True):
            if field is not None:
                with field[0].open("ab") as file:
                    np.asarray(array).tofile(file)

    def read(self, start: int, stop: int) -> Columns:
        return tuple(field and self._rows(*field, start, stop) for field in self._fields)

    @staticmethod
    def _rows(path: Path, dtype: np.dtype, shape: tuple[int, ...], start: int, stop: int):
        width = math.prod(shape)
        count, offset = (stop - start) * width, start * width * dtype.itemsize
        return np.fromfile(path, dtype, count, offset=offset).reshape(-1, *shape)


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


def rows_of(flow: Flow, data: Data | Stream, seed: int) -> Rows:
    """Training data as rows for ``flow``.

    Raises:
        ValueError: If data and flow do not fit together.
    """
    if isinstance(data, Data):
        return InMemory(batch_of(flow, data))
    sample = batch_of(flow, data.sample(len(data), seed))
    return Streamed(lambda start, stop: _wanted(flow, data.columns(start, stop)), len(data), sample)


def batch_of(flow: Flow, data: Data) -> Batch:
    """Data as objectives see them, on the device.

    Raises:
        ValueError: If data and flow do not fit together.
    """
    if data.shape != flow.shape or (
        flow.cond_shape is not None and data.cond_shape != flow.cond_shape
    ):
        raise ValueError(
            f"Expected data of shape {flow.shape} with condition {flow.cond_shape} for this flow; "
            f"got {data.shape} with condition {data.cond_shape}."
        )
    columns = (data.x, data.condition, data.joint_score)
    x, *given = (None if a is None else jnp.asarray(a, dtype=float) for a in _wanted(flow, columns))
    assert x is not None
    return Batch(x, *given)


def _wanted(flow: Flow, columns: Columns) -> Columns:
    """The fields of a batch; a condition that the flow ignores is left out."""
    return (columns[0], None, None) if flow.cond_shape is None else columns
