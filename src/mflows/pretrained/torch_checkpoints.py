r"""Checkpoints of torch as NumPy arrays, without torch and without running what they say.

A checkpoint is a pickle, and a pickle is a program: it may call whatever it can name. The reader
here knows the four names that a dictionary of tensors consists of, and refuses every other. There
are two formats:

    since 1.6, a zip file      NAME/data.pkl: the pickle; NAME/data/KEY: the numbers of a storage
    before, five pickles       magic number, version, system, the pickle, keys of the storages;
                               then for each key the count of numbers (int64), and the numbers

A tensor is a view of a storage: offset, sizes and strides in numbers. A view that leaves its
storage is refused.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001

_KINDS = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class UnsafeCheckpoint(ValueError):
    """A checkpoint that names what a dictionary of tensors has no need of."""


def read_torch_checkpoint(content: bytes) -> Any:
    """What ``torch.save`` wrote, in either format, with arrays in place of tensors.

    Args:
        content: The bytes of the file.

    Returns:
        Dictionaries, lists, numbers, texts and arrays, as they were saved.

    Raises:
        UnsafeCheckpoint: If the pickle names anything but tensors and dictionaries of them.
        ValueError: If this is no checkpoint, or a damaged one.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            return _read_zip(content)
        return _read_pickles(content)
    except UnsafeCheckpoint:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(
            f"Expected a checkpoint that torch.save wrote; could not read it: {error}"
        ) from error


def _read_zip(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        pickles = [name for name in file.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} files data.pkl in place of one")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in file.namelist():
            order = file.read(f"{folder}byteorder").decode()
            if order != "little":
                raise ValueError(f"the order of its bytes is {order!r}, not 'little'")

        def storage(kind: np.dtype, key: str, size: int) -> np.ndarray:
            return np.frombuffer(file.read(f"{folder}data/{key}"), kind, size)

        return _Reader(io.BytesIO(file.read(pickles[0])), storage).load()


def _read_pickles(content: bytes) -> Any:
    file, storages = io.BytesIO(content), {}

    def storage(kind: np.dtype, key: str, size: int) -> np.ndarray:
        if not 0 <= size * kind.itemsize <= len(content):
            raise ValueError(f"a storage of {size} numbers in a file of {len(content)} bytes")
        return storages.setdefault(key, np.empty(size, kind))  # filled when all are known

    def load() -> Any:
        return _Reader(file, storage).load()

    head = load(), load()
    if head != (_MAGIC, _VERSION):
        raise ValueError(f"it starts with {head!r:.60}")
    load()  # the system it was written on
    loaded = load()
    for key in load():
        numbers = storages[key]
        size = int(np.frombuffer(file.read(8), "<i8")[0])
        if size != len(numbers):
            raise ValueError(f"storage {key} has {size} numbers in place of {len(numbers)}")
        numbers[:] = np.frombuffer(file.read(numbers.nbytes), numbers.dtype, size)
    return loaded


class _Reader(pickle.Unpickler):
    """An unpickler that knows tensors, and names nothing else."""

    def __init__(self, file: io.BytesIO, storage: Callable[[np.dtype, str, int], np.ndarray]):
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _KINDS:
            return _KINDS[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        raise UnsafeCheckpoint(
            f"Expected a checkpoint of tensors only; got one that names {module}.{name}. It could "
            "run any program: do not load it by other means unless you trust whoever wrote it."
        )

    def persistent_load(self, pid: Any) -> np.ndarray:
        what, kind, key, _, size, *view = pid
        if what != "storage" or not isinstance(kind, np.dtype) or any(view):
            raise ValueError(f"unknown storage {pid!r:.60}")
        return self._storage(kind, str(key), size)


def _tensor(
    storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> np.ndarray:
    """A view of numbers of a storage."""
    if len(size) != len(stride) or min((offset, *size, *stride), default=0) < 0:
        raise ValueError(f"a tensor of sizes {size} and strides {stride} at {offset}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage):
        raise ValueError(f"a tensor that ends at {last} of {len(storage)} numbers")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _parameter(tensor: np.ndarray, *_: Any) -> np.ndarray:
    return tensor
