"""The data that a run is trained on: what to remember of them, so that a change is noticed."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mflows.data import Data, load, stream
from mflows.runs.config import Config, check_keys
from mflows.systems import check_type


@dataclass(frozen=True)
class Source:
    """The data of a run.

    Attributes:
        sha256: Digest of the file's content.
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


def read(config: Config) -> tuple[Data, Source]:
    """The data of a config, and what to remember of them.

    Raises:
        DataError: If they cannot be loaded or used.
    """
    data = open_data(config)
    names = data.names, data.condition_names
    return data, Source(digest(config.data), len(data), *names, data.shape)


def open_data(config: Config) -> Data:
    """Load the data of a config, or open their file.

    Raises:
        DataError: If they cannot be loaded or used.
    """
    take = stream if config.streamed else load
    return take(
        config.data,
        condition=config.condition,
        drop_constant=config.drop_constant,
        weight=config.weight,
    )


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
    """SHA-256 of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
