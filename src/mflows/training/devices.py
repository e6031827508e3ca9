"""Data-parallel training: every device has all parameters and takes its share of every batch.

The loss of a batch and its gradient are means over points, so that XLA, told how the points are
spread, adds up the devices' parts; the numbers are those of one device, up to rounding. Devices may
belong to several processes (``jax.distributed``), all of which run the same program on the same
data.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree


@dataclass(frozen=True)
class Devices:
    """Devices that share the points of every batch; with none, JAX's default device has all.

    Args:
        used: The devices.
    """

    used: tuple[jax.Device, ...] = ()

    @cached_property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.used), ("points",))

    @property
    def _many_processes(self) -> bool:
        return len({device.process_index for device in self.used}) > 1

    @property
    def _everywhere(self) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec())

    def replicated(self, tree: PyTree) -> PyTree:
        """The same arrays on every device."""
        if not self.used:
            return tree

        def put(array):
            return jax.make_array_from_process_local_data(self._everywhere, np.asarray(array))

        return jax.tree.map(lambda leaf: put(leaf) if eqx.is_array(leaf) else leaf, tree)

    def local(self, tree: PyTree) -> PyTree:
        """Replicated arrays as arrays of this process alone."""

        def fetch(leaf):
            return leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf

        return jax.tree.map(fetch, tree) if self.used else tree

    def agreed(self, tree: PyTree) -> PyTree:
        """What the first process has, in every process."""
        if not self._many_processes:
            return tree
        arrays, rest = eqx.partition(tree, eqx.is_array)
        return eqx.combine(multihost_utils.broadcast_one_to_all(arrays), rest)

    def spread(self, points: PyTree) -> PyTree:
        """Within a compiled function: every device takes its share of the points, if they go up."""
        if not self.used:
            return points
        shared = NamedSharding(self._mesh, PartitionSpec("points"))

        def share(array):
            fits = array.shape[0] % len(self.used) == 0
            return jax.lax.with_sharding_constraint(array, shared) if fits else array

        return jax.tree.map(share, points)

    def gathered(self, tree: PyTree) -> PyTree:
        """Within a compiled function: every device has all."""
        return jax.lax.with_sharding_constraint(tree, self._everywhere) if self.used else tree


def leads(
    devices: Sequence[jax.Device] | None,
) -> bool:
    """Whether this process writes the files: the first one, or one that trains by itself."""
    return devices is None or jax.process_index() == 0


def sharing(
    devices: Sequence[jax.Device] | None,
    batch_sizes: Iterable[int],
) -> Devices:
    """As many of the devices as can share batches of these sizes equally, each process as many.

    Raises:
        ValueError: If there are more processes than divide the batch sizes.
    """
    if devices is None:
        return Devices()
    size = math.gcd(*batch_sizes)
    processes = sorted({device.process_index for device in devices})
    mine = [[d for d in devices if d.process_index == process] for process in processes]
    most = min(map(len, mine))
    each = next((k for k in range(most, 0, -1) if size % (k * len(processes)) == 0), 0)
    if not each:
        raise ValueError(
            f"Expected a batch size that {len(processes)} processes can share, a multiple of "
            f"{len(processes)}; got {size}."
        )
    used = each * len(processes)
    if used < len(devices):
        warnings.warn(
            f"Batches of {size} points are shared by {used} of {len(devices)} devices. With a "
            f"batch size that is a multiple of {len(devices)} all of them would take part.",
            stacklevel=3,
        )
    return Devices(tuple(device for group in mine for device in group[:each]))
