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
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mflows import data as tables
from mflows.data import Data, DataError, Split, write_atomically
from mflows.flow import Flow, Score
from mflows.runs.config import Config
from mflows.runs.source import Source, digest, open_data
from mflows.saving import LoadError
from mflows.saving import load as load_flow
from mflows.version import __version__

FORMAT = 1
"""Of the files that describe runs and sweeps."""


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

    def split(self, path: str | Path | None = None) -> Split:
        """The rows it was trained on, and the rows held out.

        Right after training these are the ones in use; those of an opened run are read.

        Args:
            path: Where the data file is now, if it was moved.

        Raises:
            DataError: If the file is not there any more, or is not the same.
        """
        if self.parts is not None and path is None:
            return self.parts
        path = Path(path or self.config.data)
        if not path.is_file():
            raise DataError(
                f"Expected the data of {self.folder} in {path}; it is not there. Say where it is "
                "now (--data on the command line)."
            )
        if digest(path) != self.source.sha256:
            raise DataError(
                f"{path} is not the file that {self.folder} was trained on: its content has "
                "changed. Restore it, or say where the original is (--data on the command line)."
            )
        data = open_data(replace(self.config, data=str(path)))
        return data.split(self.config.validation_fraction, seed=self.config.seed)

    def load(self, path: str | Path, *, stream: bool = False) -> Data:
        """Load other data, with the columns that the flow was trained on.

        Args:
            path: A file of any format.
            stream: Leave the rows in the file where its format allows, to go through them in
                ``pieces``; they may then be larger than memory.

        Raises:
            DataError: If they cannot be read, lack columns or have another shape.
        """
        return tables.load_like(
            path,
            names=self.source.names,
            condition_names=self.source.condition_names,
            shape=self.source.shape,
            stream=stream,
        )

    def score(self, data: Data) -> Score:
        """``Flow.score`` of every row, as NumPy arrays."""
        return jax.tree.map(np.asarray, self.flow.score(data.x, data.condition))


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
    provenance = _json(folder / "provenance.json", "run")
    return Run(folder, config, source, load_flow(folder), read_history(folder), provenance)


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of ``history.jsonl``, without one that an interruption left incomplete."""
    path = folder / "history.jsonl"
    rows = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(row) for row in rows if row.endswith("}")]


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
        return Config.from_dict(values), Source.from_dict(values["source"])
    except (KeyError, TypeError, ValueError) as error:
        raise LoadError(f"{path} is not the config of a run: {error!r}.") from error


def read_described(path: Path, what: str) -> dict[str, Any]:
    """The values of the file that describes a ``what``: a run or a sweep.

    Raises:
        LoadError: If it is damaged or of a newer format.
    """
    values = _json(path, what)
    if values.get("format") != FORMAT:
        raise LoadError(
            f"{path} has format {values.get('format')}, written by mflows {values.get('mflows')}; "
            f"this version reads format {FORMAT}. Upgrade mflows."
        )
    return values


def write_described(path: Path, values: Mapping[str, Any]) -> None:
    """Write the file that `read_described` reads."""
    values = {"format": FORMAT, "mflows": __version__, **values}
    write_atomically(path, json.dumps(values, indent=2).encode())


def _json(path: Path, what: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} cannot be read: {error}. Restore it.") from error
    if not isinstance(values, dict):
        raise LoadError(f"{path} is not a file of a {what}. Restore it.")
    return values
