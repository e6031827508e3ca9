"""A run: a folder that holds a trained flow and everything about how it came to be.

    config.json                      what was asked, and which data: path, sha256, columns
    flow.json, flow.safetensors      the trained flow
    history.jsonl                    one row per epoch
    provenance.json                  version, commit, machine, seed, command, times
    checkpoints/                     where training stands, for resuming
    report.html                      written by ``mflows report``

Identity is the folder's content: a run can be moved and renamed.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mflows import data as tables
from mflows.data import Data, DataError, Split
from mflows.data.checks import listed
from mflows.files import write_atomically
from mflows.flow import FARTHEST, Flow, Score
from mflows.runs.config import Config
from mflows.runs.provenance import UNKNOWN
from mflows.runs.source import Source, digest, open_data, parts_of, turned
from mflows.saving import LoadError, checksum
from mflows.saving import load as load_flow
from mflows.version import __version__

FORMAT = 2
READ = (1, FORMAT)
"""Of the files that describe runs and sweeps, and those that can be read."""


@dataclass(frozen=True)
class Run:
    """An opened run.

    Attributes:
        folder: Where it lies.
        config: What was asked.
        source: The data it was trained on.
        flow: The trained flow.
        history: One row per epoch: phase, epoch, train, validation, seconds.
        provenance: The content of ``provenance.json``.
        parts: The rows it was trained on and those held out, where they are known already.
    """

    folder: Path
    config: Config
    source: Source
    flow: Flow
    history: list[dict[str, Any]]
    provenance: dict[str, Any]
    parts: Split | None = field(default=None, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that the flow is a density of; none if points have more axes."""
        return self.source.columns(self.config.system)[0]

    @property
    def condition_names(self) -> tuple[str, ...]:
        """Names of the columns of the flow's condition."""
        return self.source.columns(self.config.system)[1]

    def split(self, path: str | Path | None = None) -> Split:
        """The rows it was trained on, and the rows held out.

        Right after training these are the ones in use; those of an opened run are read.

        Args:
            path: Where the data are now, if they were moved.

        Raises:
            DataError: If the file is not there any more, or is not the same.
        """
        if self.parts is not None and path is None:
            return self.parts
        return parts_of(self.config, self.data(path))

    def data(self, path: str | Path | None = None) -> Data:
        """All rows of its data, in their order; arguments and errors are those of `split`."""
        path = Path(path or self.config.data)
        if not path.exists():
            raise DataError(
                f"Expected the data of {self.folder} in {path}; it is not there. Say where it is "
                "now (--data on the command line)."
            )
        if digest(path) != self.source.sha256:
            raise DataError(
                f"{path} is not the file that {self.folder} was trained on: its content has "
                "changed. Restore it, or say where the original is (--data on the command line)."
            )
        return turned(open_data(replace(self.config, data=str(path))), self.config.system)

    def load(self, path: str | Path, *, stream: bool = False) -> Data:
        """Load other data, with the columns that the flow was trained on.

        Args:
            path: A file of any format, or a folder of pictures.
            stream: Leave the rows in the file where its format allows, to go through them in
                ``pieces``; they may then be larger than memory.

        Raises:
            DataError: If they cannot be read, lack columns or have another shape.
        """
        data = tables.load_like(
            path,
            names=self.source.names,
            condition_names=self.source.condition_names,
            shape=self.source.shape,
            stream=stream,
        )
        return turned(data, self.config.system)

    def check_reach(self, path: str | Path, data: Data, *, rows_before: int = 0) -> None:
        """Raise `DataError` for points too far from the training data to be scored.

        Args:
            path: Their file, for the message.
            data: Some of its rows.
            rows_before: How many rows of the file come before them.
        """
        far = self.flow.beyond(data.x)
        if not far.any():
            return
        row, *place = map(int, np.argwhere(far)[0])
        where = f"column {data.names[place[0]]!r}" if data.names else f"at {place}"
        raise DataError(
            f"{Path(path).name}: expected numbers within {FARTHEST:g} standard deviations of the "
            f"training data; got {data.x[row, *place]:g} in row {rows_before + row + 1}, {where} "
            f"({far.sum()} in all). Remove these rows."
        )

    def score(self, data: Data) -> Score:
        """``Flow.score`` of every row, as NumPy arrays."""
        return jax.tree.map(np.asarray, self.flow.score(data.x, data.condition))


def read_data(config: Config) -> tuple[Data, Source]:
    """The data of a config, as its system is fitted to them, and what to remember of them.

    Raises:
        DataError: If they cannot be loaded or used, or have other columns than the run of the
            likelihood that the system is to see x through.
    """
    data = open_data(config)
    names = data.names, data.condition_names
    source = Source(digest(config.data), len(data), *names, data.shape)
    data = turned(data, config.system)
    if (folder := config.likelihood) is not None and (folder / "config.json").is_file():
        before, known = read_config(folder)
        if before.system.of != "x":
            raise DataError(
                f"Expected the run of a likelihood, a density of x; {folder} holds a "
                f"{before.model!r}."
            )
        seen, got = ((each.names, each.condition_names, each.shape) for each in (known, source))
        if seen != got:
            raise DataError(
                f"Expected x ({listed(known.names)}) and theta ({listed(known.condition_names)}), "
                f"the columns of the likelihood in {folder}, in {Path(config.data).name}; got x "
                f"({listed(source.names)}) and theta ({listed(source.condition_names)})."
            )
    return data, source


def open_run(folder: str | Path) -> Run:
    """Open a run whose training has ended.

    Raises:
        LoadError: If the folder holds no run, a file is damaged, or training has not ended.
    """
    folder = Path(folder)
    config, source = read_config(folder)
    if not (folder / "flow.json").is_file():
        raise LoadError(
            f"The training of {folder} has not ended. Go on with: "
            f"mflows fit --resume --out {folder}"
        )
    provenance = read_provenance(folder)
    return Run(folder, config, source, load_flow(folder), read_history(folder), provenance)


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``history.jsonl``; damaged ones are left out, with a warning.

    The last row may be one that an interruption left incomplete.
    """
    path = folder / "history.jsonl"
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    rows, damaged = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            [float(row[name]) for name in ("train", "validation", "seconds", "epoch")]
            rows.append({**row, "phase": str(row["phase"])})
        except (ValueError, TypeError, KeyError, RecursionError):
            damaged.append(number)
    if damaged and damaged[-1] == len(lines):  # as an interruption leaves it
        damaged.pop()
    if damaged:
        warnings.warn(
            f"{path} is damaged in line {', '.join(map(str, damaged[:8]))}: these epochs are left "
            "out of the history. The flow is not concerned.",
            stacklevel=2,
        )
    return rows


def read_provenance(folder: Path) -> dict[str, Any]:
    """The content of ``provenance.json``; without it all is unknown, with a warning."""
    try:
        known = read_json(folder / "provenance.json", "run")
    except LoadError as error:
        warnings.warn(f"{error} Where the run comes from is not known.", stacklevel=2)
        known = {}
    return {**UNKNOWN, **known}


def read_config(folder: Path) -> tuple[Config, Source]:
    """Read ``config.json``.

    Raises:
        LoadError: If there is none, or it is damaged or of a newer format.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise LoadError(
            f"Expected a run folder, as `mflows fit` writes it; {folder} "
            f"{'has no config.json' if folder.is_dir() else 'does not exist'}."
        )
    values = read_described(path, "run")
    try:
        source = Source.from_dict(values.pop("source"))
        return Config.from_dict(values), source
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LoadError(f"{path} is not the config of a run: {error}.") from error


def read_described(path: Path, what: str) -> dict[str, Any]:
    """The values of the file that describes a ``what``: a run or a sweep.

    Raises:
        LoadError: If it is damaged, edited or of a newer format.
    """
    values = read_json(path, what)
    signed, version, of = (values.pop(key, None) for key in ("checksum", "format", "mflows"))
    if version not in READ:
        raise LoadError(
            f"{path} has format {version}, written by mflows {of}; this version reads format "
            f"{FORMAT}. Upgrade mflows."
        )
    if signed != checksum(values) and (version != 1 or signed is not None):
        raise LoadError(
            f"{path} was edited after it was written, or is damaged: the {what} would not be what "
            f"it says. Restore it, or start a new {what} with the settings that you want."
        )
    return values


def write_described(path: Path, values: Mapping[str, Any]) -> None:
    """Write the file that `read_described` reads, signed with a checksum."""
    head = {"format": FORMAT, "mflows": __version__, "checksum": checksum(values)}
    write_atomically(path, json.dumps({**head, **values}, indent=2).encode())


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object of a JSON file of a ``what``.

    Raises:
        LoadError: If it cannot be read, or holds something else.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{path} cannot be read: {error}. Restore it.") from error
    if not isinstance(values, dict):
        raise LoadError(f"{path} is not a file of a {what}. Restore it.")
    return values
