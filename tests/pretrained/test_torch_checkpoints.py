"""Checkpoints of torch are read without it, and do nothing but hold numbers."""

import io
import os

import numpy as np
import pytest
from tests.pretrained import torch_files

from mflows.pretrained import UnsafeCheckpoint, read_torch_checkpoint

ARRAYS = {
    "layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer.bias": np.array([0.5, -2.0]),
    "steps": np.array(7, dtype=np.int64),
}
FORMATS = {
    "zip": torch_files.zipped,
    "pickles": torch_files.pickled,
}
each_format = pytest.mark.parametrize("written", FORMATS.values(), ids=FORMATS)


def equal(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def body(arrays, written) -> bytes:
    """Before 1.6 a storage may be named as a view; ``None`` where it is not."""
    return torch_files.state(arrays, extra=b"N" if written is torch_files.pickled else b"")


@each_format
def test_arrays_come_back(written):
    equal(read_torch_checkpoint(written(body(ARRAYS, written), ARRAYS)), ARRAYS)


@pytest.mark.parametrize("new", [True, False])
def test_what_torch_writes(new):
    torch = pytest.importorskip("torch", reason="torch comes with mflows[sbi]")
    weight = torch.arange(24.0).reshape(4, 6)
    tree = {
        "net": {"part": weight[1:3, ::2], "turned": weight.T, "own": torch.nn.Parameter(weight)},
        "epoch": 3,
        "half": torch.tensor([1.5], dtype=torch.float16),
    }
    file = io.BytesIO()
    torch.save(tree, file, _use_new_zipfile_serialization=new)
    found = read_torch_checkpoint(file.getvalue())
    equal(found["net"], {name: part.detach().numpy() for name, part in tree["net"].items()})
    equal({"half": found["half"]}, {"half": tree["half"].numpy()})
    assert found["epoch"] == 3


@each_format
@pytest.mark.parametrize(
    "name", [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("numpy", "load")]
)
def test_nothing_is_run(written, name, tmp_path):
    left = tmp_path / "left"
    call = torch_files.named(*name) + torch_files.group(torch_files.text(f"touch {left}")) + b"R"
    with pytest.raises(UnsafeCheckpoint, match=rf"names {name[0]}\.{name[1]}"):
        read_torch_checkpoint(written(torch_files.dictionary({"a": call}), {}))
    assert not left.exists()


def test_a_reduced_object_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    import pickle

    harm = pickle.dumps({"weights": Harmful()}, protocol=2)[2:-1]
    with pytest.raises(UnsafeCheckpoint):
        read_torch_checkpoint(torch_files.zipped(harm, {}))
    assert not (tmp_path / "made").exists()


@each_format
def test_tensors_stay_within_their_storage(written):
    extra = b"N" if written is torch_files.pickled else b""
    array = ARRAYS["layer.bias"]
    beyond = torch_files.dictionary({"a": torch_files.tensor(array, "0", offset=1, extra=extra)})
    with pytest.raises(ValueError, match="a tensor that ends at 2 of 2 numbers"):
        read_torch_checkpoint(written(beyond, {"a": array}))
    before = torch_files.dictionary({"a": torch_files.tensor(array, "0", offset=-1, extra=extra)})
    with pytest.raises(ValueError, match="at -1"):
        read_torch_checkpoint(written(before, {"a": array}))


def test_what_is_no_checkpoint():
    for content in (
        b"",
        b"PK\x03\x04",
        b"not a pickle",
        b"I5\n.I6\n.",
        torch_files.wheel("a", b""),
    ):
        with pytest.raises(ValueError, match=r"Expected a checkpoint that torch\.save wrote"):
            read_torch_checkpoint(content)
    with pytest.raises(ValueError, match="order of its bytes is 'big'"):
        read_torch_checkpoint(torch_files.zipped(body(ARRAYS, None), ARRAYS, order="big"))
    cut = torch_files.pickled(body(ARRAYS, torch_files.pickled), ARRAYS)[:-1]
    with pytest.raises(ValueError, match="Expected a checkpoint"):
        read_torch_checkpoint(cut)
