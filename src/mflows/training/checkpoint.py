"""Checkpoints: one file, always written whole, from which training goes on exactly."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.numpy

from mflows.data import write_atomically
from mflows.flow import Flow
from mflows.saving import LoadError, arrays, fill
from mflows.training.epoch import State

FORMAT = "2"
_NAMES = {
    "group": "group",
    "visit": "turn",
    "epochs": "epochs",
    "history": "history",
    "losses": "losses",
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
    """

    flow: Flow
    states: list[State] = field(default_factory=list)
    group: int = 0
    turn: int = 0
    epochs: int = 0
    history: list[dict] = field(default_factory=list)
    losses: Sequence[float] = ()

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
    path = checkpoint_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, safetensors.numpy.save(arrays((at.flow, at.states)), metadata))


def read_checkpoint(
    folder: Path,
    skeleton: Callable[[tuple[str, str] | None, int], tuple[Flow, list[State]]],
) -> Position | None:
    """The latest checkpoint in ``folder``, ``None`` if there is none.

    Args:
        folder: The run folder.
        skeleton: Makes the flow and states to fill, given how the flow was built and the group's
            index.

    Raises:
        LoadError: If the file is damaged or belongs to another flow or recipe.
    """
    path = checkpoint_path(folder)
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise LoadError(
            f"The checkpoint {path} is damaged: {error}. Remove it to start over."
        ) from error
    if metadata.get("format") != FORMAT:
        raise LoadError(
            f"Expected a checkpoint of format {FORMAT} in {path}; got {metadata.get('format')}. "
            "Go on with the version of mflows that wrote it, or remove it to start over."
        )
    position, built = json.loads(metadata["at"]), json.loads(metadata["built"])
    empty = skeleton(built and tuple(built), position["group"])
    kept = {attribute: position[name] for name, attribute in _NAMES.items()}
    return Position(*fill(empty, values, path), **kept)
