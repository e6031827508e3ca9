"""Small ONNX files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx comes with mflows[onnx]")
reference = pytest.importorskip("onnx.reference", reason="it comes with onnx")


def model(
    nodes: Sequence[Any],
    arrays: Mapping[str, np.ndarray],
    given: Sequence[int | str],
    out: str = "x",
    *,
    opset: int = 17,
    more: Sequence[str] = (),
) -> Any:
    """A model of nodes from the latent vector "w" to ``out``, in double precision."""
    double = onnx.TensorProto.DOUBLE
    inputs = [onnx.helper.make_tensor_value_info("w", double, list(given))]
    inputs += [onnx.helper.make_tensor_value_info(name, double, [1]) for name in more]
    graph = onnx.helper.make_graph(
        list(nodes),
        "g",
        inputs,
        [onnx.helper.make_tensor_value_info(out, double, None)],
        [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])


def save(path: Path, *arguments: Any, **more: Any) -> Path:
    onnx.save(model(*arguments, **more), path)
    return path


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    """A node; ``inputs`` are names with spaces between, - for one that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return onnx.helper.make_node(kind, names, output.split(), **attributes)


def dcgan(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """The checkpoint of a DCGAN as PyTorch exports it: (1, N, 1, 1) to (1, C, H, W)."""
    arrays = {name[name.index("main.") :]: array for name, array in arrays.items()}
    nodes, now, place = [], "w", 0
    while f"main.{place}.weight" in arrays:
        stride, pad = (1, 0) if place == 0 else (2, 1)
        nodes.append(
            node("ConvTranspose", f"{now} main.{place}.weight", f"c{place}",
                 kernel_shape=[4, 4], strides=[stride] * 2, pads=[pad] * 4)
        )  # fmt: skip
        now, batch = f"c{place}", f"main.{place + 1}"
        if f"{batch}.weight" in arrays:
            names = " ".join(
                f"{batch}.{each}" for each in ("weight", "bias", "running_mean", "running_var")
            )
            nodes.append(node("BatchNormalization", f"{now} {names}", f"b{place}"))
            nodes.append(node("Relu", f"b{place}", f"r{place}"))
            now = f"r{place}"
        place += 3
    nodes.append(node("Tanh", now, "x"))
    inputs = len(arrays["main.0.weight"])
    return save(path, nodes, arrays, ["batch", inputs, 1, 1])


def mlp(path: Path, inputs: int = 4, outputs: int = 5, *, seed: int = 0) -> Path:
    """tanh(w A + a) B + b."""
    rng = np.random.default_rng(seed)
    arrays = {
        "A": rng.normal(size=(inputs, 20)) / inputs**0.5, "a": rng.normal(size=20),
        "B": rng.normal(size=(outputs, 20)) / 20**0.5, "b": rng.normal(size=outputs),
    }  # fmt: skip
    nodes = [
        node("MatMul", "w A", "h"),
        node("Add", "h a", "k"),
        node("Tanh", "k", "t"),
        node("Gemm", "t B b", "x", transB=1),
    ]
    return save(path, nodes, arrays, ["batch", inputs])
