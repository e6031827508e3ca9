"""The table that a run is trained on: what to remember of it, so that a change is noticed."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mflows.data import Data, Stream, load, stream
from mflows.runs.config import Config


@dataclass(frozen=True)
class Source:
    """The data of a run.

    Attributes:
        sha256: Digest of the file's content.
        rows: Number of rows.
        names: Names of the columns of x.
        condition_names: Names of the columns of the condition.
    """

    sha256: str
    rows: int
    names: tuple[str, ...]
    condition_names: tuple[str, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Source":
        """The source with these values."""
        names, condition_names = tuple(values["names"]), tuple(values["condition_names"])
        return cls(values["sha256"], values["rows"], names, condition_names)

    def as_dict(self) -> dict[str, Any]:
        """The source as plain values."""
        return asdict(self)


def read(config: Config) -> tuple[Data | Stream, Source]:
    """Load or open the data of a config.

    Raises:
        DataError: If they cannot be loaded or used.
    """
    read = stream if config.streamed else load
    data = read(config.data, condition=config.condition, drop_constant=config.drop_constant)
    return data, Source(digest(config.data), len(data), data.names, data.condition_names)


def digest(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
