"""Operators of ONNX on single numbers, on axes, and of linear algebra, by their definitions."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from mflows.pretrained.onnx.node import OPERATORS, Node, Value, integers, operator

_SIMPLE = {
    "Abs": jnp.abs,
    "Add": jnp.add,
    "Cos": jnp.cos,
    "Erf": jax.scipy.special.erf,
    "Exp": jnp.exp,
    "Log": jnp.log,
    "MatMul": jnp.matmul,
    "Mul": jnp.multiply,
    "Neg": jnp.negative,
    "Pow": jnp.power,
    "Reciprocal": jnp.reciprocal,
    "Relu": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid,
    "Sin": jnp.sin,
    "Softplus": jax.nn.softplus,
    "Sqrt": jnp.sqrt,
    "Sub": jnp.subtract,
    "Tanh": jnp.tanh,
}
OPERATORS.update({name: lambda node, *x, apply=apply: apply(*x) for name, apply in _SIMPLE.items()})


@operator("Identity")
def _identity(node: Node, x: Value) -> Value:
    return x


@operator("Dropout")
def _dropout(node: Node, x: Value, ratio: Value | None = None, drops: Value | None = None) -> Value:
    if drops is not None and any(integers(drops, "training modes") or ()):
        raise ValueError("Expected a network that is trained; got one that drops at random.")
    return x


@operator("Div")
def _div(node: Node, a: Value, b: Value) -> Value:
    whole = jnp.issubdtype(a.dtype, jnp.integer)
    return jax.lax.div(*jnp.broadcast_arrays(a, b)) if whole else jnp.divide(a, b)


@operator("LeakyRelu")
def _leaky_relu(node: Node, x: Value) -> Value:
    return jax.nn.leaky_relu(x, node.get("alpha", 0.01))


@operator("PRelu")
def _prelu(node: Node, x: Value, slope: Value) -> Value:
    return jnp.where(x < 0, slope * x, x)


@operator("Elu")
def _elu(node: Node, x: Value) -> Value:
    return jax.nn.elu(x, node.get("alpha", 1.0))


@operator("Selu")
def _selu(node: Node, x: Value) -> Value:
    alpha, gamma = node.get("alpha", 1.6732631921768188), node.get("gamma", 1.0507010221481323)
    return gamma * jax.nn.elu(x, alpha)


@operator("Gelu")
def _gelu(node: Node, x: Value) -> Value:
    return jax.nn.gelu(x, approximate=node.get("approximate", "none") == "tanh")


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, x: Value) -> Value:
    return jnp.clip(node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0, 1)


@operator("Softmax")
def _softmax(node: Node, x: Value) -> Value:
    if node.opset < 13:  # all axes from this one on are one
        start = node.get("axis", 1) % x.ndim
        return jax.nn.softmax(x, axis=tuple(range(start, x.ndim)))
    return jax.nn.softmax(x, axis=node.get("axis", -1))


@operator("Clip")
def _clip(node: Node, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    return jnp.clip(x, node.get("min", low), node.get("max", high))


@operator("Gemm")
def _gemm(node: Node, a: Value, b: Value, c: Value | None = None) -> Value:
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    product = node.get("alpha", 1.0) * jnp.matmul(a, b)
    return product if c is None else product + node.get("beta", 1.0) * c


@operator("ReduceMean", "ReduceSum")
def _reduce(node: Node, x: Value, axes: Value | None = None) -> Value:
    chosen = integers(axes, "axes") or node.get("axes")
    if not chosen and node.get("noop_with_empty_axes", 0):
        return x
    reduce = jnp.mean if node.kind == "ReduceMean" else jnp.sum
    return reduce(x, tuple(chosen) if chosen else None, keepdims=bool(node.get("keepdims", 1)))


@operator("BatchNormalization")
def _batch_norm(
    node: Node, x: Value, scale: Value, bias: Value, mean: Value, variance: Value
) -> Value:
    node.refuse(training_mode=0, spatial=1)
    each = (-1, *[1] * (x.ndim - 2))
    factor = scale / jnp.sqrt(variance + node.get("epsilon", 1e-5))
    return (x - mean.reshape(each)) * factor.reshape(each) + bias.reshape(each)


@operator("InstanceNormalization")
def _instance_norm(node: Node, x: Value, scale: Value, bias: Value) -> Value:
    each = (-1, *[1] * (x.ndim - 2))
    scaled = _standardised(x, tuple(range(2, x.ndim)), node.get("epsilon", 1e-5))
    return scaled * scale.reshape(each) + bias.reshape(each)


@operator("LayerNormalization")
def _layer_norm(node: Node, x: Value, scale: Value, bias: Value | None = None) -> Value:
    axes = tuple(range(node.get("axis", -1) % x.ndim, x.ndim))
    scaled = _standardised(x, axes, node.get("epsilon", 1e-5)) * scale
    return scaled if bias is None else scaled + bias


def _standardised(x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    mean, variance = (part(x, axis=axes, keepdims=True) for part in (jnp.mean, jnp.var))
    return (x - mean) / jnp.sqrt(variance + epsilon)


# Axes --------------------------------------------------------------------------------------------


@operator("Constant")
def _constant(node: Node) -> Value:
    (value,) = node.attributes.values()
    return np.asarray(value)


@operator("ConstantOfShape")
def _constant_of_shape(node: Node, shape: Value) -> Value:
    value = np.ravel(node.get("value", np.zeros(1, np.float32)))
    return jnp.full(integers(shape, "shapes"), value[0])


@operator("Shape")
def _shape(node: Node, x: Value) -> Value:
    return np.asarray(x.shape[node.get("start", 0) : node.get("end")])


@operator("Cast")
def _cast(node: Node, x: Value) -> Value:
    to = node.attributes["to"]
    if np.issubdtype(to, np.floating):
        return x.astype(float) if isinstance(x, np.ndarray) else jnp.asarray(x, dtype=float)
    return x.astype(to)


@operator("Reshape")
def _reshape(node: Node, x: Value, shape: Value) -> Value:
    wanted = integers(shape, "shapes") or ()
    if not node.get("allowzero", 0):
        wanted = tuple(x.shape[i] if size == 0 else size for i, size in enumerate(wanted))
    return x.reshape(wanted)


@operator("Flatten")
def _flatten(node: Node, x: Value) -> Value:
    axis = node.get("axis", 1)
    return x.reshape(math.prod(x.shape[: axis if axis >= 0 else axis + x.ndim]), -1)


@operator("Transpose")
def _transpose(node: Node, x: Value) -> Value:
    return jnp.transpose(x, node.get("perm"))


@operator("Squeeze")
def _squeeze(node: Node, x: Value, axes: Value | None = None) -> Value:
    chosen = integers(axes, "axes") or node.get("axes")
    return jnp.squeeze(x, None if chosen is None else tuple(chosen))


@operator("Unsqueeze")
def _unsqueeze(node: Node, x: Value, axes: Value | None = None) -> Value:
    return jnp.expand_dims(x, tuple(integers(axes, "axes") or node.attributes["axes"]))


@operator("Concat")
def _concat(node: Node, *parts: Value) -> Value:
    return jnp.concatenate(parts, axis=node.attributes["axis"])


@operator("Split")
def _split(node: Node, x: Value, sizes: Value | None = None) -> list[Value]:
    axis, parts = node.get("axis", 0), len(node.outputs)
    each = integers(sizes, "sizes") or node.get("split")
    if each is None:
        size = -(-x.shape[axis] // parts)
        each = [size] * parts
    return list(jnp.split(x, np.cumsum(each)[:-1].tolist(), axis=axis))


@operator("Expand")
def _expand(node: Node, x: Value, shape: Value) -> Value:
    return jnp.broadcast_to(x, np.broadcast_shapes(x.shape, integers(shape, "shapes") or ()))


@operator("Gather")
def _gather(node: Node, x: Value, indices: Value) -> Value:
    axis = node.get("axis", 0)
    return jnp.take(x, jnp.where(indices < 0, indices + x.shape[axis], indices), axis=axis)


@operator("Slice")
def _slice(
    node: Node,
    x: Value,
    starts: Value | None = None,
    ends: Value | None = None,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Value:
    first = integers(starts, "starts") or node.attributes["starts"]
    last = integers(ends, "ends") or node.attributes["ends"]
    chosen = integers(axes, "axes") or node.get("axes") or range(len(first))
    each = integers(steps, "steps") or [1] * len(first)
    parts = [slice(None)] * x.ndim
    for axis, start, stop, step in zip(chosen, first, last, each, strict=True):
        # Before the first element is the end of a slice that goes backwards.
        before = step < 0 and stop < -x.shape[axis]
        parts[axis] = slice(start, None if before else stop, step)
    return x[tuple(parts)]
