"""A network of an ONNX file: its nodes, evaluated one after the other.

What a graph computes from known numbers alone, such as shapes, is known before a program is
compiled. Weights are arguments of the program, not constants in it.
"""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mflows.pretrained.onnx import elements, images  # noqa: F401 - they fill the table
from mflows.pretrained.onnx.node import OPERATORS, Node, Value

FEW = 64
"""Arrays of so many numbers or fewer are constants: scales and limits are among them."""
OLDEST = 7
"""Version of the operators since which arrays are broadcast as NumPy's are."""
_LARGEST = 2**31 - 1  # of the whole numbers that JAX has by default


class _Graph:
    """Nodes in their order and what is known of inputs and outputs."""

    def __init__(
        self, nodes: list[Node], constants: dict[str, np.ndarray], given: str, out: str, path: Path
    ):
        self.nodes, self.constants, self.path = nodes, constants, path
        self.given, self.out = given, out


class OnnxNetwork(eqx.Module):
    """A network from a vector, shape (inputs,), to a vector or an image (H, W, C).

    Attributes:
        weights: Its larger arrays by name.
        graph: Its nodes.
        given: Shape of its input with the axis of the batch.
        channels_last: Whether images come out with their channels last.
    """

    weights: dict[str, Array]
    graph: _Graph = eqx.field(static=True)
    given: tuple[int, ...] = eqx.field(static=True)
    channels_last: bool = eqx.field(static=True)

    @property
    def inputs(self) -> int:
        """Number of latent variables."""
        return math.prod(self.given)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what comes out."""
        return eqx.filter_eval_shape(self, jnp.zeros(self.inputs)).shape

    def __call__(self, w: Float[Array, " inputs"]) -> Float[Array, "..."]:
        """The output for one latent vector."""
        graph = self.graph
        known: dict[str, Any] = {**graph.constants, **self.weights, "": None}
        known[graph.given] = w.reshape(self.given)
        with jax.default_matmul_precision("highest"):
            for node in graph.nodes:
                known.update(zip(node.outputs, _evaluated(graph.path, node, known), strict=False))
        x = jnp.asarray(known[graph.out], dtype=w.dtype)
        if x.ndim < 2 or len(x) != 1:
            raise ValueError(
                f"{graph.path.name}: expected one output for one latent vector, shape (1, ...); "
                f"got {x.shape}. Was it exported for a batch of another size?"
            )
        return jnp.moveaxis(x[0], 0, -1) if x.ndim == 4 and not self.channels_last else x[0]


def load(path: str | Path, *, channels_last: bool = False) -> OnnxNetwork:
    """Read a network with one input, a latent vector, and one output.

    The input has the shape (1, N), (1, N, 1, 1) or the like, with any name or size for its first
    axis, that of the batch. Images that come out as (1, C, H, W) become (H, W, C).

    Args:
        path: The file. Weights that are in files of their own are found beside it.
        channels_last: Whether images come out as (1, H, W, C) instead, as those of TensorFlow do.

    Raises:
        ModuleNotFoundError: If the package ``onnx`` is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, has operators that are not known here, or another number
            of inputs or outputs.
    """
    path, onnx = Path(path), _onnx()
    if not path.is_file():
        raise FileNotFoundError(f"Expected an ONNX file; {path} is not there.")
    try:
        model = onnx.load(path)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # of protobuf, of onnx, of the file system
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path.name} is no ONNX file that can be read: {said}") from error
    try:
        return _network(onnx, model, path, channels_last)
    except KeyError as error:
        raise ValueError(
            f"{path.name} is damaged: it has no {error}, an output or a type of numbers."
        ) from error


def _network(onnx: ModuleType, model: Any, path: Path, channels_last: bool) -> OnnxNetwork:
    graph = model.graph
    arrays = {str(each.name): _numbers(onnx, each) for each in graph.initializer}
    given = [each for each in graph.input if each.name not in arrays]
    for what, found in (("input, the latent vector,", given), ("output", graph.output)):
        if len(found) != 1:
            names = ", ".join(repr(each.name) for each in found) or "none"
            raise ValueError(
                f"{path.name}: expected one {what} of a generator; got {names}. Export it without "
                "the others."
            )
    sizes = [axis.dim_value for axis in given[0].type.tensor_type.shape.dim]
    if len(sizes) < 2 or min(sizes[1:]) < 1:
        shown = ", ".join(str(size or "?") for size in sizes)
        raise ValueError(
            f"{path.name}: expected an input of shape (1, N) with a number N; got ({shown})."
        )
    opsets = {each.domain: each.version for each in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 1))
    if opset < OLDEST:
        raise ValueError(
            f"{path.name}: expected operators of version {OLDEST} or later; got {opset}. Export it "
            "anew, or convert it with onnx.version_converter."
        )
    nodes = [_node(onnx, node, opset) for node in graph.node]
    for node in nodes:
        if node.kind == "Constant" and "value" in node.attributes:
            arrays[node.outputs[0]] = node.attributes["value"]
    nodes = [node for node in nodes if not arrays.keys() & set(node.outputs)]
    unknown = sorted({node.kind for node in nodes} - set(OPERATORS))
    if unknown:
        raise ValueError(
            f"{path.name}: these operators are not known: {', '.join(unknown)}. Known are "
            f"{', '.join(sorted(OPERATORS))}. Export the network with these, or write it in JAX."
        )
    large = {
        name
        for name, array in arrays.items()
        if array.size > FEW and np.issubdtype(array.dtype, np.floating)
    }
    network = OnnxNetwork(
        {name: jnp.asarray(arrays[name], dtype=float) for name in sorted(large)},
        _Graph(
            nodes,
            {name: array for name, array in arrays.items() if name not in large},
            given[0].name,
            graph.output[0].name,
            path,
        ),
        (1, *sizes[1:]),
        channels_last,
    )
    _ = network.shape  # what cannot be evaluated is found now
    return network


def _node(onnx: ModuleType, node: Any, opset: int) -> Node:
    # Text of a damaged file may be bytes.
    kind = str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    attributes = {each.name: _attribute(onnx, each) for each in node.attribute}
    if kind == "Cast":
        attributes["to"] = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    inputs, outputs = (tuple(map(str, names)) for names in (node.input, node.output))
    return Node(kind, inputs, outputs, attributes, opset)


def _attribute(onnx: ModuleType, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _numbers(onnx, value)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _numbers(onnx: ModuleType, tensor: Any) -> np.ndarray:
    array = onnx.numpy_helper.to_array(tensor)
    if np.issubdtype(array.dtype, np.integer):
        # The end of a slice may be the largest number there is.
        return np.asarray(np.clip(array, -_LARGEST, _LARGEST))
    if np.issubdtype(array.dtype, np.floating) or array.dtype == bool:
        return array
    raise ValueError(f"Expected numbers in {tensor.name!r}; got {array.dtype}.")


def _evaluated(path: Path, node: Node, known: dict[str, Any]) -> list[Value]:
    """What comes out of a node; of known numbers that is known too."""
    try:
        values = [known[name] for name in node.inputs]
        if all(value is None or isinstance(value, np.ndarray) for value in values):
            with jax.ensure_compile_time_eval():
                found = OPERATORS[node.kind](node, *values)
            several = isinstance(found, list)
            return [np.asarray(each) for each in (found if several else [found])]
        found = OPERATORS[node.kind](node, *values)
        return found if isinstance(found, list) else [found]
    except Exception as error:
        name = " or ".join(filter(None, node.outputs))
        raise ValueError(
            f"{path.name}: {node.kind}, which makes {name!r}, cannot be evaluated: {error}"
        ) from error


def _onnx() -> ModuleType:
    try:
        import onnx
        import onnx.helper
        import onnx.inliner
        import onnx.numpy_helper
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Reading ONNX files needs the package onnx: pip install 'mflows[onnx]'", name="onnx"
        ) from error
    return onnx
