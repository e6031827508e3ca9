"""Every operator of ONNX against the evaluator of the package onnx; files that cannot be used."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.pretrained import onnx_files
from tests.pretrained.onnx_files import node, onnx, reference
from tests.simulators import generators

from mflows.pretrained.onnx import load
from mflows.pretrained.onnx.node import OPERATORS
from mflows.simulators.dcgan import DCGAN

RNG = np.random.default_rng(0)
IMAGE = (1, 4, 5, 3)
W = {
    size: RNG.normal(size=size) for size in ((2, 4, 3, 2), (4, 2, 3, 2), (4, 1, 3, 3), (2, 2, 3, 3))
}
KERNEL = W[4, 2, 3, 2]
WAY = "coordinate_transformation_mode"
FOUR = [RNG.normal(size=4) for _ in range(3)]


def ints(*values):
    return np.array(values, np.int64)


# Operator, shape of its input, further inputs (None for one left out), attributes, opset.
CASES = [
    *((kind, (1, 6), [], {}, 20) for kind in (
        "Abs", "Cos", "Erf", "Exp", "Identity", "Neg", "Reciprocal", "Relu", "Sigmoid", "Sin",
        "Softplus", "Tanh", "LeakyRelu", "Elu", "Selu", "Gelu", "HardSigmoid", "Softmax", "Dropout",
    )),
    *((kind, (2, 3), [RNG.uniform(1, 2, size=3)], {}, 17) for kind in (
        "Add", "Mul", "Sub", "Div", "PRelu",
    )),
    ("Pow", (1, 3), [ints(2)], {}, 17),
    ("LeakyRelu", (1, 6), [], {"alpha": 0.3}, 17),
    ("Elu", (1, 6), [], {"alpha": 0.3}, 17),
    ("Gelu", (1, 6), [], {"approximate": "tanh"}, 20),
    ("Softmax", (1, 2, 3), [], {"axis": 1}, 17),
    ("Clip", (1, 6), [np.array(-0.5), None], {}, 17),
    ("Clip", (1, 6), [None, np.array(0.5)], {}, 17),
    ("Clip", (1, 6), [], {"min": -0.5, "max": 0.5}, 7),
    ("MatMul", (2, 3), [RNG.normal(size=(3, 4))], {}, 17),
    ("Gemm", (2, 3), [RNG.normal(size=(3, 4)), FOUR[0]], {"alpha": 2.0, "beta": 3.0}, 17),
    ("Gemm", (3, 2), [RNG.normal(size=(4, 3))], {"transA": 1, "transB": 1}, 17),
    ("ReduceMean", IMAGE, [], {"axes": [1, 2], "keepdims": 0}, 17),
    ("ReduceMean", IMAGE, [ints(-1)], {}, 18),
    ("ReduceSum", IMAGE, [ints(1)], {}, 17),
    ("ReduceSum", IMAGE, [], {}, 17),
    ("ReduceSum", IMAGE, [], {"noop_with_empty_axes": 1}, 17),
    ("BatchNormalization", IMAGE, [*FOUR, RNG.uniform(1, 2, size=4)], {"epsilon": 0.1}, 17),
    ("InstanceNormalization", IMAGE, FOUR[:2], {"epsilon": 0.1}, 17),
    ("LayerNormalization", IMAGE, list(RNG.normal(size=(2, 5, 3))), {"axis": 2}, 17),
    ("LayerNormalization", (1, 4), [FOUR[0]], {}, 17),
    ("Reshape", (2, 3, 4), [ints(0, -1)], {}, 17),
    ("Flatten", (2, 3, 4), [], {"axis": 2}, 17),
    ("Flatten", (2, 3, 4), [], {"axis": -2}, 17),
    ("Transpose", (2, 3, 4), [], {"perm": [1, 2, 0]}, 17),
    ("Transpose", (2, 3, 4), [], {}, 17),
    ("Squeeze", (1, 3, 1), [ints(2)], {}, 17),
    ("Squeeze", (1, 3, 1), [], {}, 17),
    ("Squeeze", (1, 3, 1), [], {"axes": [0]}, 11),
    ("Unsqueeze", (1, 3), [ints(0, -1)], {}, 17),
    ("Unsqueeze", (1, 3), [], {"axes": [1]}, 11),
    ("Concat", (2, 3), [RNG.normal(size=(2, 2))], {"axis": -1}, 17),
    ("Expand", (1, 3), [ints(2, 2, 1)], {}, 17),
    ("Gather", (2, 3), [ints(-1, 0, 1)], {"axis": 1}, 17),
    ("Slice", (2, 6), [ints(1, -1), ints(2**63 - 1, -(2**63)), ints(0, 1), ints(1, -2)], {}, 17),
    ("Slice", (2, 6), [ints(0, 2), ints(1, -1)], {}, 17),
    ("Slice", (2, 6), [], {"starts": [1], "ends": [4], "axes": [1]}, 9),
    ("Conv", IMAGE, [W[2, 4, 3, 2], FOUR[0][:2]], {"pads": [1, 0, 2, 1], "strides": [2, 1]}, 17),
    ("Conv", IMAGE, [W[4, 1, 3, 3]], {"group": 4, "pads": [2, 2, 2, 2], "dilations": [2, 2]}, 17),
    ("Conv", IMAGE, [W[2, 4, 3, 2]], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 17),
    ("Conv", IMAGE, [W[2, 4, 3, 2]], {"auto_pad": "SAME_LOWER"}, 17),
    ("Conv", IMAGE, [W[2, 4, 3, 2]], {"auto_pad": "VALID"}, 17),
    ("Conv", (1, 2, 7), [RNG.normal(size=(3, 2, 3))], {"strides": [2]}, 17),
    ("ConvTranspose", IMAGE, [KERNEL, FOUR[0][:2]], {"strides": [2, 3], "pads": [1, 0, 0, 1]}, 17),
    ("ConvTranspose", IMAGE, [KERNEL],
        {"strides": [2, 3], "output_padding": [1, 2], "pads": [1, 0, 1, 0]}, 17),
    ("ConvTranspose", IMAGE, [KERNEL], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, 17),
    *(("AveragePool", IMAGE, [], {"kernel_shape": [3, 2], **more}, 17) for more in (
        {"strides": [2, 1], "pads": [1, 0, 1, 1]}, {"pads": [1, 1, 1, 1], "count_include_pad": 1},
    )),
    ("GlobalAveragePool", IMAGE, [], {}, 17),
    ("DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2}, 17),
    ("DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2, "mode": "CRD"}, 17),
    ("Pad", (1, 2, 3), [ints(0, 1, 2, 0, 0, 1), np.array(0.5)], {}, 17),
    ("Pad", (1, 2, 3), [ints(2, 1), None, ints(2)], {"mode": "reflect"}, 18),
    ("Pad", (1, 2, 3), [ints(0, 1, 1, 0, 1, 1)], {"mode": "edge"}, 17),
    *(("Resize", (1, 1, 4, 3), [None, np.array([1, 1, 2, 1.5], np.float32)], more, 17) for more in (
        {"mode": "nearest"},
        {"mode": "nearest", "nearest_mode": "floor", WAY: "asymmetric"},
        {"mode": "nearest", "nearest_mode": "ceil"},
        {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
        {"mode": "linear"},
        {"mode": "linear", WAY: "pytorch_half_pixel"},
    )),
    *(("Resize", (1, 1, 4, 3), [None, None, ints(1, 1, 7, 1)], {"mode": mode, WAY: way}, 17)
        for mode in ("linear", "nearest") for way in ("align_corners", "pytorch_half_pixel")),
    ("Resize", (1, 1, 4, 3), [None, None, ints(1, 1, 7, 2)], {"mode": "linear"}, 17),
    ("Resize", (1, 1, 4, 3), [None, np.array([2, 2], np.float32)], {"axes": [2, 3]}, 18),
]  # fmt: skip
ELSEWHERE = {
    "Sqrt", "Log", "Cast", "Constant", "ConstantOfShape", "Shape", "Split", "Upsample"
}  # fmt: skip
"""Operators with tests of their own, for what goes into them."""


def agrees(path, given, arrays, nodes, opset, size):
    """Evaluate both, compiled, at one vector."""
    file = onnx_files.save(path, nodes, arrays, given, opset=opset)
    w = np.random.default_rng(1).normal(size=(1, *given[1:]))
    expected = reference.ReferenceEvaluator(str(file)).run(None, {"w": w})[0]
    network = load(file, channels_last=True)
    found = np.asarray(eqx.filter_jit(network)(jnp.asarray(w.ravel())))
    assert found.shape == network.shape == expected.shape[1:]
    assert network.inputs == size
    np.testing.assert_allclose(found, expected[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_operators_are_those_of_onnx(tmp_path, case):
    kind, shape, more, attributes, opset = case
    arrays = {f"in{i}": array for i, array in enumerate(more) if array is not None}
    names = " ".join(f"in{i}" if f"in{i}" in arrays else "-" for i in range(len(more)))
    nodes = [
        node("Reshape", "w before", "a"),
        node(kind, f"a {names}", "b", **attributes),
        node("Reshape", "b after", "x"),
    ]
    size = int(np.prod(shape))
    arrays |= {"before": ints(*shape), "after": ints(1, -1)}
    agrees(tmp_path / "one.onnx", ("batch", size), arrays, nodes, opset, size)


def test_all_operators_are_tested():
    assert {case[0] for case in CASES} | ELSEWHERE == set(OPERATORS)


def test_what_is_computed_from_shapes_is_known_beforehand(tmp_path):
    """As PyTorch exports ``x.view(len(x), 2, -1)`` and a Resize; the rest of the operators too."""
    nodes = [
        node("Shape", "w", "shape"),
        node("Constant", "", "zero", value=onnx.numpy_helper.from_array(np.array(0))),
        node("Gather", "shape zero", "row", axis=0),
        node("Constant", "", "axis", value_ints=[0]),
        node("Unsqueeze", "row axis", "rows"),
        node("ConstantOfShape", "one", "two", value=onnx.numpy_helper.from_array(ints(2))),
        node("Concat", "rows two minus", "wanted", axis=0),
        node("Reshape", "w wanted", "a"),  # (1, 2, 6)
        node("Split", "a parts", "b c", axis=2),
        node("Mul", "b b", "square"),
        node("Sqrt", "square", "root"),
        node("Exp", "c", "positive"),
        node("Log", "positive", "same"),
        node("Concat", "root same", "d", axis=-1),
        node("Cast", "d", "e", to=onnx.TensorProto.DOUBLE),
        node("Unsqueeze", "e one", "f"),  # (1, 1, 2, 6)
        node("Cast", "three", "whole", to=onnx.TensorProto.FLOAT),
        node("Div", "whole half", "scale"),
        node("Concat", "ones scale scale", "scales", axis=0),
        node("Resize", "f - scales", "x", mode="nearest"),
    ]
    arrays = {
        "minus": ints(-1), "one": ints(1), "parts": ints(2, 4), "three": ints(3),
        "half": np.array([2], np.float32), "ones": np.ones(2, np.float32),
    }  # fmt: skip
    agrees(tmp_path / "shapes.onnx", ("batch", 12), arrays, nodes, 17, 12)


@pytest.mark.parametrize(("opset", "given"), [(9, " factors"), (7, "")])
def test_what_older_files_have(tmp_path, opset, given):
    """Factors of Upsample as an input or an attribute, parts of Split as an attribute."""
    factors = np.array([1, 1, 2, 3], np.float32)
    more = {} if given else {"scales": factors.tolist()}
    nodes = [
        node("Reshape", "w before", "a"),
        node("Split", "a", "b c", axis=2, split=[1, 2]),
        node("Upsample", f"c{given}", "x", mode="nearest", **more),
    ]
    arrays = {"before": ints(1, 1, 3, 2)} | ({"factors": factors} if given else {})
    path = onnx_files.save(tmp_path / "old.onnx", nodes, arrays, (1, 6), opset=opset)
    w = RNG.normal(size=6)
    expected = w.reshape(1, 3, 2, 1)[:, 1:].repeat(2, axis=1).repeat(3, axis=2)
    found = load(path, channels_last=True)(jnp.asarray(w))
    np.testing.assert_array_equal(found, expected[..., 0])


def evaluated(path, nodes, arrays, shape, opset=17):
    """The network of nodes from "a", which has this shape, to "b"; its input and its output."""
    nodes = [node("Reshape", "w before", "a"), *nodes, node("Reshape", "b after", "x")]
    arrays = {**arrays, "before": ints(*shape), "after": ints(1, -1)}
    size = int(np.prod(shape))
    network = load(onnx_files.save(path, nodes, arrays, (1, size), opset=opset))
    w = np.random.default_rng(2).normal(size=size)
    return w.reshape(shape), np.asarray(network(jnp.asarray(w)))


def test_what_the_evaluator_of_onnx_lacks(tmp_path):
    """Old Softmax, negative borders, a wanted size and groups of a transposed convolution."""
    path = tmp_path / "one.onnx"
    x, y = evaluated(path, [node("Softmax", "a", "b", axis=1)], {}, (1, 2, 3), opset=11)
    np.testing.assert_allclose(y, (np.exp(x) / np.exp(x).sum()).ravel())
    x, y = evaluated(path, [node("Pad", "a p", "b")], {"p": ints(0, 0, -1, 0, 1, 0)}, (1, 2, 3))
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (0, 1), (0, 0)])[..., 1:].ravel())

    def transposed(kernel, **attributes):
        nodes = [node("ConvTranspose", "a k", "b", **attributes)]
        return evaluated(path, nodes, {"k": kernel}, IMAGE)[1]

    kernel, grouped = W[4, 2, 3, 2], W[4, 1, 3, 3]
    wanted = transposed(kernel, strides=[2, 2], output_shape=[10, 6])
    np.testing.assert_array_equal(wanted, transposed(kernel, strides=[2, 2], pads=[1, 0, 0, 0]))
    whole = np.zeros((4, 2, 3, 3))
    whole[:2, 0], whole[2:, 1] = grouped[:2, 0], grouped[2:, 0]
    more = {"dilations": [2, 1]}
    np.testing.assert_allclose(transposed(grouped, group=2, **more), transposed(whole, **more))


def test_integers_are_divided_as_in_c(tmp_path):
    nodes = [node("Div", "a b", "c"), node("Mul", "w c", "x")]
    arrays = {"a": ints(-7, 7), "b": ints(2, 2)}
    path = onnx_files.save(tmp_path / "div.onnx", nodes, arrays, (1, 2))
    np.testing.assert_array_equal(load(path)(jnp.ones(2)), [-3, 3])


def test_a_generator_of_images_is_that_of_jax(tmp_path):
    arrays = generators.arrays(6, 5, 4, 3)
    network = load(onnx_files.dcgan(tmp_path / "dcgan.onnx", arrays))
    expected = DCGAN.of(arrays)
    assert (network.inputs, network.shape) == (6, (16, 16, 3))
    w = jnp.asarray(RNG.normal(size=6))
    np.testing.assert_allclose(eqx.filter_jit(network)(w), expected(w), atol=1e-12)


def test_weights_are_arguments_of_programs_and_have_their_precision(tmp_path):
    network = load(onnx_files.mlp(tmp_path / "mlp.onnx"))
    assert {name: array.shape for name, array in network.weights.items()} == {
        "A": (4, 20), "B": (5, 20)
    }  # fmt: skip
    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_array))
    assert sum(leaf.size for leaf in leaves) == 180
    jaxpr = jax.make_jaxpr(lambda weights, w: eqx.tree_at(lambda n: n.weights, network, weights)(w))
    consts = jaxpr(network.weights, jnp.zeros(4)).consts
    assert all(np.size(each) <= 64 for each in consts)


def test_weights_that_are_constants_of_the_graph_are_weights(tmp_path):
    matrix = RNG.normal(size=(9, 10))
    value = onnx.numpy_helper.from_array(matrix)
    nodes = [node("Constant", "", "A", value=value), node("MatMul", "w A", "x")]
    network = load(onnx_files.save(tmp_path / "g.onnx", nodes, {}, (1, 9)))
    np.testing.assert_array_equal(network.weights["A"], matrix)
    np.testing.assert_allclose(network(jnp.ones(9)), matrix.sum(axis=0))


def test_functions_of_the_file_are_known(tmp_path):
    twice = onnx.helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [onnx.helper.make_opsetid("", 17)]
    )
    found = onnx_files.model([node("Twice", "w", "x", domain="own")], {}, (1, 3))
    found.functions.append(twice)
    found.opset_import.append(onnx.helper.make_opsetid("own", 1))
    onnx.save(found, tmp_path / "g.onnx")
    np.testing.assert_array_equal(load(tmp_path / "g.onnx")(jnp.arange(3.0)), [0, 2, 4])


def test_weights_in_files_of_their_own(tmp_path):
    path = onnx_files.mlp(tmp_path / "mlp.onnx")
    expected = load(path)(jnp.ones(4))
    onnx.save(
        onnx.load(path), tmp_path / "apart.onnx", save_as_external_data=True,
        location="apart.data", size_threshold=0,
    )  # fmt: skip
    np.testing.assert_array_equal(load(tmp_path / "apart.onnx")(jnp.ones(4)), expected)
    (tmp_path / "apart.data").unlink()
    with pytest.raises(ValueError, match="apart.onnx is no ONNX file that can be read"):
        load(tmp_path / "apart.onnx")


def test_what_is_no_generator_is_refused(tmp_path):
    path = tmp_path / "g.onnx"
    with pytest.raises(FileNotFoundError, match="Expected an ONNX file; .* is not there"):
        load(path)
    whole = onnx_files.mlp(path).read_bytes()
    for content, message in (
        (b"", "expected one input, the latent vector, of a generator; got none"),
        (b"no network", "is no ONNX file that can be read: ."),
        (whole[: len(whole) // 2], "is no ONNX file that can be read: ."),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"g\.onnx:? {message}"):
            load(path)
    identity = [node("Identity", "w", "x")]
    for arguments, more, message in (
        (([node("RandomNormalLike", "w", "y"), node("Add", "y w", "x")], {}, (1, 3)), {},
         r"g\.onnx: these operators are not known: RandomNormalLike\. Known are Abs, "),
        ((identity, {}, (1, 3)), {"more": ["label"]}, "one input, .* got 'w', 'label'"),
        ((identity, {}, (1, "n")), {},
         r"an input of shape \(1, N\) with a number N; got \(1, \?\)"),
        ((identity, {}, (3,)), {}, r"an input of shape \(1, N\) with a number N; got \(3\)"),
        (([node("Reshape", "w s", "x")], {"s": ints(2, 2)}, (1, 4)), {},
         r"one output for one latent vector, shape \(1, ...\); got \(2, 2\)"),
        (([node("Reshape", "w s", "x")], {"s": ints(1, 7)}, (1, 4)), {},
         r"g\.onnx: Reshape, which makes 'x', cannot be evaluated: "),
        (([node("Cast", "w", "s", to=7), node("Reshape", "w s", "x")], {}, (1, 4)), {},
         "Expected shapes that do not depend on the latent vector"),
        (([node("Dropout", "w - s", "x")], {"s": np.array(True)}, (1, 4)), {},
         "a network that is trained; got one that drops at random"),
        ((identity, {}, (1, 4)), {"opset": 6}, "operators of version 7 or later; got 6. Export it"),
        (([node("Resize", "w - s", "x", mode="cubic")], {"s": np.ones(2, np.float32)}, (1, 4)), {},
         "Expected the mode 'nearest' or 'linear'; got 'cubic'"),
    ):  # fmt: skip
        onnx_files.save(path, *arguments, **more)
        with pytest.raises(ValueError, match=message):
            load(path)


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    path = onnx_files.mlp(tmp_path / "mlp.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'mflows\[onnx\]'"):
        load(path)
