"""Checkpoints: one file, always written whole, from which training goes on exactly."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from mflows.files import write_atomically
from mflows.flow import Flow
from mflows.saving import LoadError, arrays, fill
from mflows.training.epoch import State

FORMAT = "3"
READ = ("2", FORMAT)
_NAMES = {
    "group": "group",
    "visit": "turn",
    "epochs": "epochs",
    "history": "history",
    "losses": "losses",
    "centred": "centred",
    "notes": "notes",
    "settled": "settled",
    "halvings": "halvings",
}
"""Attributes of a position by their names in the file."""


@dataclass
class Position:
    """Where training stands.

    Attributes:
        flow: The flow at the start of the turn.
        states: The states of the group's phases.
        group: Index of the phase, or group of alternating phases, in the recipe, where every phase
            of an ``Either`` counts.
        turn: Index of the phase within the group, counted over rounds.
        epochs: Epochs of this turn already done.
        history: The rows of all epochs so far.
        losses: Losses of the blocks that have been trained on of the epoch begun.
        centred: Whether training sees centred points; it did not before mflows 0.2.
        notes: What was decided about the starts of phases so far.
        settled: Epochs after which the loss of this turn had settled, ``None`` before that.
        halvings: How often the learning rate of this turn was halved, because a loss diverged.
    """

    flow: Flow
    states: list[State] = field(default_factory=list)
    group: int = 0
    turn: int = 0
    epochs: int = 0
    history: list[dict] = field(default_factory=list)
    losses: Sequence[float] = ()
    centred: bool = True
    notes: list[str] = field(default_factory=list)
    settled: int | None = None
    halvings: int = 0

    @property
    def begun(self) -> bool:
        """Whether training stands within a turn."""
        return self.epochs > 0 or len(self.losses) > 0

    @property
    def round(self) -> int:
        """The round of a group of alternating phases, from 0."""
        return self.turn // len(self.states)

    @property
    def state(self) -> State:
        """The state of the phase whose turn it is."""
        return self.states[self.turn % len(self.states)]

    @state.setter
    def state(self, state: State) -> None:
        self.states[self.turn % len(self.states)] = state


def checkpoint_path(folder: Path) -> Path:
    """The file of the latest checkpoint of a run."""
    return folder / "checkpoints" / "latest.safetensors"


def write_checkpoint(folder: Path, at: Position) -> None:
    """Replace the latest checkpoint in ``folder``."""
    position = {name: getattr(at, attribute) for name, attribute in _NAMES.items()}
    metadata = {"format": FORMAT, "built": json.dumps(at.flow.built), "at": json.dumps(position)}
    values = arrays((at.flow, at.states))
    path = checkpoint_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata["sha256"] = _digest(metadata, values)
    write_atomically(path, safetensors.numpy.save(values, metadata))


def _digest(metadata: dict[str, str], values: dict[str, np.ndarray]) -> str:
    """SHA-256 of all that a checkpoint says."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(values):
        array = np.ascontiguousarray(values[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@dataclass
class Checkpoint:
    """What a file holds, before it is known which flow its arrays belong to.

    Attributes:
        path: The file.
        built: How the flow was built.
        position: The attributes of a `Position` that are no arrays.
        values: The arrays by name.
    """

    path: Path
    built: tuple[str, str] | None
    position: dict[str, Any]
    values: dict[str, np.ndarray]

    @property
    def centred(self) -> bool:
        """Whether training sees centred points; it did not before mflows 0.2."""
        return self.position["centred"]

    def filled(
        self, skeleton: Callable[[tuple[str, str] | None, int], tuple[Flow, list[State]]]
    ) -> Position:
        """The position.

        Args:
            skeleton: Makes the flow and states to fill, given how the flow was built and the
                group's index.

        Raises:
            LoadError: If the file belongs to another flow or recipe.
        """
        empty = skeleton(self.built, self.position["group"])
        return Position(*fill(empty, self.values, self.path), **self.position)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The latest checkpoint in ``folder``, ``None`` if there is none.

    Raises:
        LoadError: If the file is damaged or of another format.
    """
    path = checkpoint_path(folder)
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, MemoryError) as error:
        raise LoadError(
            f"The checkpoint {path} is damaged: {error}. Remove it to start over."
        ) from error
    if metadata.get("format") not in READ:
        raise LoadError(
            f"Expected a checkpoint of format {FORMAT} in {path}; got {metadata.get('format')}. "
            "Go on with the version of mflows that wrote it, or remove it to start over."
        )
    signed = metadata.pop("sha256", None)
    if signed != _digest(metadata, values) and (signed or metadata.get("format") == FORMAT):
        raise LoadError(
            f"The checkpoint {path} is damaged: it is not as it was written. Remove it to start "
            "over."
        )
    position, built = json.loads(metadata["at"]), json.loads(metadata["built"])
    earlier = {"centred": False, "notes": [], "settled": None, "halvings": 0}  # as in mflows 0.1
    position = earlier | position
    kept = {attribute: position[name] for name, attribute in _NAMES.items()}
    return Checkpoint(path, built and tuple(built), kept, values)
