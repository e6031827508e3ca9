"""A folder of pictures: found, decoded by threads, cropped, resized; as 8-bit levels.

Files count by their ending, in the folder and in those within it; hidden ones do not. They are in
the order of their paths, as text. Each is turned as its EXIF orientation says; the first frame of
an animation counts; what is transparent lies on white; of 16 bits the upper 8 count. Then the
largest part in the middle that has the wanted aspect is resized (Lanczos).

A folder in which the three channels of every picture are equal is grey, and has one channel.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mflows.data.checks import DataError, check_size, listed
from mflows.data.mapped import Mapped, Scratch

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
OWN, USUAL = 64, 32
"""Pictures of one size keep it up to the first number of pixels on a side; others are resized to
the second."""
TOGETHER = 256
"""Files that are decoded before any of them is written."""


class Pictures(NamedTuple):
    """What was found in a folder.

    Attributes:
        levels: Pictures as uint8 in a temporary file, shape (N, H, W, C).
        note: What was done to them.
        names: Their paths relative to the folder, as text, N of them.
    """

    levels: Mapped
    note: str
    names: list[str]


class _Unreadable(NamedTuple):
    reason: str


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder and of those within it, by their paths relative to it, as text.

    Raises:
        DataError: If there are none.
    """
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(where, name) for name in names if not name.startswith(".")]
    found = [path for path in found if path.suffix.lower() in FORMATS and path.is_file()]
    if not found:
        raise DataError(
            f"{folder}: expected a file, or a folder with pictures ({', '.join(FORMATS)}); got a "
            "folder without any. Name a file in it, or convert the pictures."
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def digest_of_folder(folder: Path) -> str:
    """SHA-256 of the names and contents of the pictures of a folder."""
    whole = hashlib.sha256()
    for path in picture_files(folder):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        name = path.relative_to(folder).as_posix()
        whole.update(f"{content} {len(name)} {name}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def read_folder(
    folder: Path, size: int | None = None, like: tuple[int, ...] | None = None
) -> Pictures:
    """Decode the pictures of a folder. A warning lists those that cannot be read.

    Args:
        folder: Where they are.
        size: Height and width wanted. By default pictures that all have one size of at most 64
            pixels keep it, and others become 32 x 32.
        like: Shape (H, W, C) of a model's points, which then says the size and the channels.

    Raises:
        DataError: There are no pictures, none can be read, one is too large to be harmless, or
            they are in colour and the model's are grey.
    """
    check_size(size)
    if like is not None and (len(like) != 3 or like[2] not in (1, 3)):
        raise DataError(
            f"{folder.name}: expected points of shape {like} for this model; got a folder of "
            "pictures, (H, W, 1) or (H, W, 3)."
        )
    files = picture_files(folder)
    names = [path.relative_to(folder).as_posix() for path in files]
    with _decoding() as pool:
        if like is not None:
            shape = like[:2]
        else:
            shape = _common_size(pool, files) if size is None else (size, size)
        scratch, unread, coloured, resized = Scratch(folder.name), {}, [], False
        for start in range(0, len(files), TOGETHER):
            some = slice(start, start + TOGETHER)
            decoded = pool.map(lambda path: _decoded(path, shape), files[some])
            rows = []
            for name, picture in zip(names[some], decoded, strict=True):
                if isinstance(picture, _Unreadable):
                    unread[name] = picture.reason
                    continue
                levels, other = picture
                rows.append(levels)
                resized |= other
                if (levels != levels[..., :1]).any():
                    coloured.append(name)
            if rows:
                scratch.append(np.stack(rows))
    if len(unread) == len(files):
        name, reason = next(iter(unread.items()))
        raise DataError(
            f"{folder}: expected pictures that can be read; got {len(files):,} files of which none "
            f"can ({name!r}: {reason}). Are they damaged, or of another format than they say?"
        )
    if like is not None and like[2] == 1 and coloured:
        raise DataError(
            f"{folder.name}: expected grey pictures for this model, shape {like}; got "
            f"{len(coloured):,} in colour ({listed(coloured)}). Make them grey, or fit a model to "
            "pictures in colour."
        )
    if unread:
        name, reason = next(iter(unread.items()))
        warnings.warn(
            f"{folder.name}: {len(unread):,} of {len(files):,} pictures could not be read and are "
            f"left out: {listed([*unread])} ({name!r}: {reason}).",
            stacklevel=2,
        )
    levels = scratch.array()
    grey = not coloured if like is None else like[2] == 1
    size_of = " x ".join(map(str, shape))
    note = (
        f"{folder.name}: {len(levels):,} pictures, {'grey' if grey else 'in colour'}, "
        f"{'centre-cropped and resized to' if resized else 'of'} {size_of}; level k as "
        "(k + 1/2) / 256" + (f"; {len(unread):,} could not be read." if unread else ".")
    )
    read = [name for name in names if name not in unread]
    return Pictures(_first_channel(levels) if grey else levels, note, read)


@contextmanager
def _decoding() -> Iterator[ThreadPoolExecutor]:
    """Threads that decode, in which a picture too large to be harmless is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of EXIF data and palettes that are odd
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture, turned as its orientation says.

    Raises:
        DataError: If it has more pixels than Pillow takes for harmless.
    """
    try:
        with Image.open(path, formats=[*set(FORMATS.values())]) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path.name}: expected a picture of at most {Image.MAX_IMAGE_PIXELS:,} pixels, "
            f"Pillow's limit against files that fill the memory ({error}). Take it out of the "
            "folder, or make it smaller."
        ) from error


def _common_size(pool: ThreadPoolExecutor, files: list[Path]) -> tuple[int, int]:
    """The size of all pictures, (H, W), if they have one that is small; or the usual one."""
    sizes = {size for size in pool.map(_size, files) if size is not None}
    common = sizes.pop() if len(sizes) == 1 else (OWN + 1, OWN + 1)
    return common if max(common) <= OWN else (USUAL, USUAL)


def _size(path: Path) -> tuple[int, int] | None:
    """Height and width as it is shown; none if the file cannot be read."""
    try:
        with _opened(path) as image:
            lying = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return image.size if lying else (image.height, image.width)
    except DataError:
        raise
    except Exception:  # foreign parsers raise anything
        return None


def _decoded(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, bool] | _Unreadable:
    """Levels of shape (H, W, 3), and whether the picture had another size."""
    height, width = shape
    try:
        with _opened(path) as image:
            turned = _in_colours(ImageOps.exif_transpose(image))
            fitted = ImageOps.fit(turned, (width, height), Image.Resampling.LANCZOS)
            return np.asarray(fitted), turned.size != fitted.size
    except DataError:
        raise
    except UnidentifiedImageError:
        return _Unreadable("no picture of a known format")
    except Exception as error:
        return _Unreadable((str(error).strip().splitlines() or [type(error).__name__])[0])


def _in_colours(image: Image.Image) -> Image.Image:
    """Red, green and blue, of 8 bits; what is transparent lies on white."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _first_channel(levels: Mapped) -> Mapped:
    shape = (*levels.shape[:3], 1)
    return Mapped(levels.source, shape, lambda start, stop: levels[start:stop][..., :1])
