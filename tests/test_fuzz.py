"""Every file that is read, mutated: an error of ours, or the same numbers; never another.

A few mutations of each here; ``make fuzz`` tries hundreds.
"""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import tiny
from tests.pretrained import torch_files

from mflows import runs, sweeps
from mflows.data import DataError, load, save_array
from mflows.pretrained import onnx, read_torch_checkpoint
from mflows.saving import LoadError, arrays
from mflows.saving import load as load_flow
from mflows.training.checkpoint import read_checkpoint

COUNT = int(os.environ.get("MFLOWS_FUZZ", "40"))
SAVED = Path(__file__).parent / "saved"
TOKENS = (
    b"NaN",
    b"1e999",
    b"null",
    b"-1",
    b"[[[[",
    b'{"a":',
    b"\x00",
    b"\xff\xfe",
    b",",
    b"\n",
    b"9" * 30,
)


def mutated(content: bytes, seed: int) -> bytes:
    """The content with one to three changes: bits, bytes, pieces lost, doubled, moved or new."""
    rng = np.random.default_rng(seed)
    found = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        start, stop = sorted(rng.integers(len(found) + 1, size=2))
        stop = min(stop, start + 200)
        match rng.integers(7):
            case 0 if found:
                found[start % len(found)] ^= 1 << int(rng.integers(8))
            case 1 if found:
                found[start % len(found)] = int(rng.integers(256))
            case 2:
                del found[start:stop]
            case 3:
                found[start:start] = found[start:stop]
            case 4:
                del found[start:]
            case 5:
                found[start:start] = TOKENS[rng.integers(len(TOKENS))]
            case _:
                found[start:stop] = rng.bytes(stop - start)
    return bytes(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    table = tiny.write_table(folder / "curve.csv")
    return runs.train(folder / "run", tiny.config(table, epochs=2)).folder


def tried(read, path: Path, same, seed: int) -> str | None:
    """Read a mutated file; what was wrong with the answer, if something was."""
    content = path.read_bytes()
    changed = mutated(content, seed)
    path.write_bytes(changed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read()
    except (LoadError, DataError):
        return None
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"
    finally:
        path.write_bytes(content)
    return None if same(found) else f"seed {seed}: other numbers without a word"


def check(read, path: Path, same) -> None:
    wrong = [tried(read, path, same, seed) for seed in range(COUNT)]
    wrong = [each for each in wrong if each]
    assert not wrong, "\n".join(wrong[:20])


def equal(flow):
    before = arrays(flow)
    return lambda found: all(np.array_equal(v, arrays(found)[k]) for k, v in before.items())


@pytest.mark.parametrize("name", ["flow.json", "flow.safetensors"])
def test_a_flow(run, tmp_path, name):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    check(lambda: load_flow(folder), folder / name, equal(load_flow(folder)))


@pytest.mark.parametrize("name", ["config.json", "history.jsonl", "provenance.json"])
def test_a_run(run, tmp_path, name):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    whole = runs.open_run(folder)

    def same(found):
        return (found.config, found.source) == (whole.config, whole.source)

    check(lambda: runs.open_run(folder), folder / name, same)


def test_a_checkpoint(run, tmp_path):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    whole = read_checkpoint(folder)

    def same(found):
        return found.position == whole.position and all(
            np.array_equal(value, found.values[name]) for name, value in whole.values.items()
        )

    path = folder / "checkpoints" / "latest.safetensors"
    check(lambda: read_checkpoint(folder), path, same)


@pytest.mark.parametrize("written", [torch_files.zipped, torch_files.pickled])
def test_a_checkpoint_of_torch(tmp_path, written):
    """Numbers are not signed: whoever asks for a network knows the hash of its file."""
    numbers, path = {"a": np.arange(6.0).reshape(2, 3)}, tmp_path / "weights.pt"
    extra = b"N" if written is torch_files.pickled else b""
    path.write_bytes(written(torch_files.state(numbers, extra=extra), numbers))

    def read():
        try:
            return read_torch_checkpoint(path.read_bytes())
        except ValueError as error:
            raise DataError(error) from error

    check(read, path, lambda found: True)


def test_a_network_of_onnx(tmp_path):
    """Its numbers are not signed; it is whole, or refused."""
    from tests.pretrained import onnx_files

    path = onnx_files.mlp(tmp_path / "mlp.onnx")

    def read():
        try:
            return onnx.load(path)
        except ValueError as error:
            raise DataError(error) from error

    check(read, path, lambda found: found.inputs >= 1)


def test_a_sweep(tmp_path):
    folder = Path(shutil.copytree(SAVED / "sweep", tmp_path / "sweep"))
    check(lambda: sweeps.open_sweep(folder), folder / "sweep.json", lambda found: True)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet", ".h5"])
def test_a_table(tmp_path, suffix):
    """Numbers of a table are not signed: they may be others, but whole, finite and of one shape."""
    path = tmp_path / f"t{suffix}"
    x = np.random.default_rng(0).normal(size=(30, 3))
    more = {} if suffix == ".npy" else {"theta": np.arange(30.0)}
    save_array(path, x, ("a", "b", "c"), more=more)
    check(lambda: load(path), path, lambda found: bool(np.isfinite(found.x).all()))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_a_folder_of_pictures(tmp_path, suffix):
    """A damaged picture is left out, or shows something else; the others are there."""
    levels = np.random.default_rng(0).integers(256, size=(3, 6, 5, 3), dtype=np.uint8)
    for number, picture in enumerate(levels):
        Image.fromarray(picture).save(tmp_path / f"{number}{suffix}")
    whole = load(tmp_path, size=4).x

    def same(found):
        return len(found) in (2, 3) and np.array_equal(found.x[-2:], whole[1:])

    check(lambda: load(tmp_path, size=4), tmp_path / f"0{suffix}", same)
