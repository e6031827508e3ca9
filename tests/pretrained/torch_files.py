"""Checkpoints in both formats of torch, written opcode by opcode: no torch, no pickle.dumps."""

import io
import struct
import zipfile
from collections.abc import Mapping

import numpy as np

KINDS = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def integer(value: int) -> bytes:
    return f"I{value}\n".encode()


def text(value: str) -> bytes:
    return f"V{value}\n".encode()


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def tensor(array: np.ndarray, key: str, *, offset: int = 0, extra: bytes = b"") -> bytes:
    """A tensor that is the whole of storage ``key``, from ``offset`` on."""
    kind = named("torch", KINDS[array.dtype.name])
    storage = group(text("storage"), kind, text(key), text("cpu"), integer(array.size), extra)
    steps = [step // array.itemsize for step in array.strides]
    size, stride = (group(*map(integer, each)) for each in (array.shape, steps))
    hooks = named("collections", "OrderedDict") + b")R"
    arguments = group(storage + b"Q", integer(offset), size, stride, b"I00\n", hooks)
    return named("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def dictionary(items: Mapping[str, bytes]) -> bytes:
    ordered = named("collections", "OrderedDict") + b")R"
    return ordered + b"(" + b"".join(text(name) + item for name, item in items.items()) + b"u"


def state(arrays: Mapping[str, np.ndarray], *, extra: bytes = b"") -> bytes:
    """A dictionary of tensors, without the end of the pickle."""
    tensors = {
        name: tensor(array, str(i), extra=extra) for i, (name, array) in enumerate(arrays.items())
    }
    return dictionary(tensors)


def zipped(body: bytes, arrays: Mapping[str, np.ndarray], *, order: str = "little") -> bytes:
    """The format since torch 1.6."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr("weights/data.pkl", b"\x80\x02" + body + b".")
        file.writestr("weights/byteorder", order)
        for i, array in enumerate(arrays.values()):
            file.writestr(f"weights/data/{i}", array.tobytes())
    return target.getvalue()


def pickled(body: bytes, arrays: Mapping[str, np.ndarray]) -> bytes:
    """The format before."""
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    keys = b"(" + b"".join(text(str(i)) for i in range(len(arrays))) + b"l"
    parts = [integer(1001), b"(d", body, keys]
    storages = [struct.pack("<q", a.size) + a.tobytes() for a in arrays.values()]
    return magic + b"".join(b"\x80\x02" + part + b"." for part in parts) + b"".join(storages)


def wheel(path: str, content: bytes) -> bytes:
    """A wheel with one file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        file.writestr(path, content)
    return target.getvalue()
