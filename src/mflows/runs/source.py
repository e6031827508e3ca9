"""The data that a run is trained on: what to remember of them, so that a change is noticed."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mflows.data import (
    Data,
    DataError,
    Mapped,
    Split,
    dequantised,
    load,
    stream,
    with_mirror_images,
)
from mflows.data.data import column_names
from mflows.runs.config import Config, check_keys
from mflows.systems import System, check_type


@dataclass(frozen=True)
class Source:
    """The data of a run, x and condition as they are in the file.

    Attributes:
        sha256: Digest of the file's content, or of the names and contents of pictures.
        rows: Number of rows.
        names: Names of the columns of x; none if points have more than one axis.
        condition_names: Names of the columns of the condition.
        shape: Shape of a point.
    """

    sha256: str
    rows: int
    names: tuple[str, ...]
    condition_names: tuple[str, ...]
    shape: tuple[int, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Source":
        """The source with these values; earlier versions kept no shape."""
        check_keys("source", values, [f.name for f in fields(cls)])
        names, condition_names = tuple(values["names"]), tuple(values["condition_names"])
        shape = tuple(values.get("shape", (len(names),)))
        check_type("sha256", values["sha256"], str)
        for number in (values["rows"], *shape):
            check_type("rows and shape", number, int)
        for name in (*names, *condition_names):
            check_type("a name", name, str)
        return cls(values["sha256"], values["rows"], names, condition_names, shape)

    def as_dict(self) -> dict[str, Any]:
        """The source as plain values."""
        return asdict(self)

    def columns(self, system: System) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the columns that a system is a density of, and of those that are given."""
        if system.of == "x":
            return self.names, self.condition_names
        return self.condition_names, self.names or column_names("x", math.prod(self.shape))


def turned(data: Data, system: System) -> Data:
    """Data as a system is fitted to them.

    For a density of theta, theta are the points and x, flattened, their condition.

    Raises:
        DataError: If such a density has no theta.
    """
    if system.of == "x":
        return data
    if data.condition is None:
        raise DataError(
            f"Expected the columns of theta for the model {system.name!r} (--condition on the "
            "command line); got none."
        )
    x, size = data.x, math.prod(data.shape)

    def rows(start: int, stop: int):
        return x[start:stop].reshape(-1, size)

    flat: Any = Mapped("x", (len(x), size), rows) if isinstance(x, Mapped) else rows(0, len(x))
    names = data.condition_names, data.names or column_names("x", size)
    known = {"weight": data.weight, "notes": data.notes}
    return Data(data.condition, flat, *names, checked=True, **known)


def open_data(config: Config) -> Data:
    """Load the data of a config, or open their file, x and condition as they are there.

    Raises:
        DataError: If they cannot be loaded or used.
    """
    take = stream if config.streamed else load
    return take(
        config.data,
        condition=config.condition,
        drop_constant=config.drop_constant,
        weight=config.weight,
        size=config.size,
    )


def parts_of(config: Config, data: Data) -> Split:
    """The rows to train on and those held out, with what is to be done to pictures.

    Raises:
        DataError: If that is not possible with these data.
    """
    kept, held_out = data.split(config.validation_fraction, seed=config.seed)
    if config.flips:
        kept = with_mirror_images(kept, held_out)
    if config.dequantise:
        kept = dequantised(kept, (config.seed, 0))
        held_out = dequantised(held_out, (config.seed, 1))
    return Split(kept, held_out)


def check_same(
    what: str,
    folder: Path,
    before: tuple[Source, Mapping[str, Any]],
    now: tuple[Source, Mapping[str, Any]],
) -> None:
    """Raise ``ValueError`` unless a run or sweep goes on with the same settings and data.

    Args:
        what: ``run`` or ``sweep``, for the message.
        folder: Where it lies.
        before: Its data and its settings by name; ``data`` is the path, which may differ.
        now: Those that are asked for.
    """
    (old_source, old), (new_source, new) = before, now
    if old_source.sha256 != new_source.sha256:
        raise ValueError(
            f"{new['data']} is not the file that {folder} was started with: its content has "
            f"changed. Start a new {what}."
        )
    for name in dict.fromkeys((*old, *new)):
        if name != "data" and old.get(name) != new.get(name):
            raise ValueError(
                f"The {what} in {folder} was started with {name} {old.get(name)!r}; got "
                f"{new.get(name)!r}. To go on with it, leave its settings as they are; otherwise "
                f"start a new {what}."
            )


def digest(path: str | Path) -> str:
    """SHA-256 of a file's content, or of the names and contents of the pictures of a folder."""
    if Path(path).is_dir():
        from mflows.data.folder import digest_of_folder

        return digest_of_folder(Path(path))
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
