"""Training data as blocks of rows: an epoch is a pass over all of them, in random order.

Data in memory are one block. Of a stream every block is put together from ``RUNS`` runs of
consecutive rows at random places of the file, and its rows are shuffled again when batches are
made, so that files in any order train well; while one block trains, a thread reads the next.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows.data import Data, Stream
from mflows.flow import Flow
from mflows.training.phase import Batch, Supervised

Block = Batch | Supervised

NUMBERS = 1 << 24
"""Numbers in a block of a stream: 64 MB in float32."""
RUNS = 8
"""Runs of consecutive rows that make a block: each long enough for a disk."""


class Rows(Protocol):
    """Training data, whatever they lie in.

    Attributes:
        blocks: Blocks of an epoch.
        points: Points of a block.
        sample: Points from which starts are chosen and by which phases are judged where nothing
            is held out: all of them, or as many random ones as fit into memory.
    """

    blocks: int
    points: int
    sample: Block

    def epoch(self, key: PRNGKeyArray) -> Iterator[Block]:
        """The blocks of an epoch, in an order that the key decides."""
        ...

    def prepared(self, prepare: Callable[[Block], Block]):
        """A context in which the rows are those that an objective prepared."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Rows that are on the device, one block."""

    sample: Block
    blocks: int = 1

    @property
    def points(self) -> int:
        return self.sample.x.shape[0]

    def epoch(self, key: PRNGKeyArray) -> Iterator[Block]:
        yield self.sample

    @contextmanager
    def prepared(self, prepare: Callable[[Block], Block]):
        yield InMemory(prepare(self.sample))


class Streamed:
    """Rows that are read when they are needed.

    Args:
        read: Function from start and stop to these rows, as NumPy arrays.
        count: Number of rows N.
        sample: Random rows, in memory.
    """

    def __init__(self, read: Callable[[int, int], Block], count: int, sample: Block):
        self.sample = sample
        self._read, self._count = read, count
        numbers = sum(array.size for array in sample if array is not None)
        width = numbers // sample.x.shape[0]
        self.blocks = -(-count * width // NUMBERS)
        self._run = max(count // (self.blocks * RUNS), 1)
        self._runs = min(RUNS, count)
        self.points = self._run * self._runs

    def epoch(self, key: PRNGKeyArray) -> Iterator[Block]:
        rng = np.random.default_rng(np.asarray(jr.key_data(key)).ravel())
        runs = self._count // self._run
        offset = rng.integers(self._count - runs * self._run + 1)
        starts = offset + self._run * rng.permutation(runs)

        def block(index: int) -> Block:
            chosen = np.sort(starts[index * self._runs : (index + 1) * self._runs])
            return _joined([self._read(start, start + self._run) for start in chosen])

        yield from ahead(block, self.blocks)

    @contextmanager
    def prepared(self, prepare: Callable[[Block], Block]):
        """The rows are prepared once, in their order, and written to a temporary folder."""
        sample = prepare(self.sample)
        starts = range(0, self._count, self.points)

        def stretch(index: int) -> Block:
            start = starts[index]
            return _joined([self._read(start, min(start + self.points, self._count))])

        with tempfile.TemporaryDirectory(prefix="mflows-") as folder:
            spool = _Spool(Path(folder), sample)
            for block in ahead(stretch, len(starts)):
                spool.write(prepare(block))
            yield Streamed(spool.read, self._count, sample)


class _Spool:
    """Blocks written one after the other, a plain file for each of their arrays."""

    def __init__(self, folder: Path, like: Block):
        paths = (folder / name for name in like._fields)
        kept = (p if a is not None else None for p, a in zip(paths, like, strict=True))
        self._files = type(like)(*kept)
        self._like = like

    def write(self, block: Block) -> None:
        def append(path: Path, array) -> None:
            with path.open("ab") as file:
                np.asarray(array).tofile(file)

        jax.tree.map(append, self._files, block)

    def read(self, start: int, stop: int) -> Block:
        def rows(path: Path, like) -> np.ndarray:
            width = math.prod(like.shape[1:])
            offset = start * width * like.dtype.itemsize
            flat = np.fromfile(path, like.dtype, (stop - start) * width, offset=offset)
            return flat.reshape(-1, *like.shape[1:])

        return jax.tree.map(rows, self._files, self._like)


def _joined(parts: list[Block]) -> Block:
    """Parts of NumPy arrays as one block on the device."""
    return jax.tree.map(lambda *arrays: jnp.asarray(np.concatenate(arrays), dtype=float), *parts)


def ahead(make: Callable[[int], Block], count: int) -> Iterator[Block]:
    """Make things one after the other, the next one while the last one is in use."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(make, 0)
        for index in range(1, count):
            ready = following.result()
            following = thread.submit(make, index)
            yield ready
        yield following.result()


def rows_of(flow: Flow, data: Data | Stream, seed: int) -> Rows:
    """Training data as rows for ``flow``.

    Raises:
        ValueError: If data and flow do not fit together.
    """
    if isinstance(data, Data):
        return InMemory(batch_of(flow, data))
    sample = batch_of(flow, data.sample(len(data), seed))
    return Streamed(lambda start, stop: _batch(flow, data.read(start, stop)), len(data), sample)


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
    return jax.tree.map(lambda array: jnp.asarray(array, dtype=float), _batch(flow, data))


def _batch(flow: Flow, data: Data) -> Batch:
    """A batch of NumPy arrays; a condition that the flow ignores is left out."""
    if flow.cond_shape is None:
        return Batch(data.x, None)
    return Batch(data.x, data.condition, data.joint_score)
