"""Checkpoints: one file, always written whole, from which training goes on exactly."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from mflows.data import write_atomically
from mflows.saving import LoadError, arrays, fill

FORMAT = "2"


class Checkpoint(NamedTuple):
    """Where training stands.

    Attributes:
        group: Index of the phase, or group of alternating phases, in the recipe.
        visit: Index of the phase within the group, counted over rounds.
        epochs: Epochs of this visit already done.
        arrays: The flow at the start of the visit, and the states of the group's phases.
        history: The rows of all epochs so far.
        losses: Losses of the blocks that have been trained on of the epoch begun.
    """

    group: int
    visit: int
    epochs: int
    arrays: PyTree
    history: list[dict]
    losses: Sequence[float] = ()


def checkpoint_path(folder: Path) -> Path:
    """The file of the latest checkpoint of a run."""
    return folder / "checkpoints" / "latest.safetensors"


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the latest checkpoint in ``folder``."""
    flow, _ = checkpoint.arrays
    position = {name: value for name, value in checkpoint._asdict().items() if name != "arrays"}
    metadata = {"format": FORMAT, "built": json.dumps(flow.built), "at": json.dumps(position)}
    path = checkpoint_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, safetensors.numpy.save(arrays(checkpoint.arrays), metadata))


def read_checkpoint(
    folder: Path, skeleton: Callable[[tuple[str, str] | None, int], PyTree]
) -> Checkpoint | None:
    """The latest checkpoint in ``folder``, ``None`` if there is none.

    Args:
        folder: The run folder.
        skeleton: Makes the PyTree to fill, given how the flow was built and the group's index.

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
    at, built = json.loads(metadata["at"]), json.loads(metadata["built"])
    filled = fill(skeleton(built and tuple(built), at["group"]), values, path)
    return Checkpoint(arrays=filled, **at)
