"""Save and load flows: JSON for what the flow is, safetensors for its numbers.

``flow.json`` names the function that builds the flow, of ``mflows.models`` or of one's own
(``mflows.models.remembered``), and its arguments;
``flow.safetensors`` holds every array under its path in the flow. Loading rebuilds the structure
and fills in the arrays; nothing is unpickled and no code from the files runs.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from mflows.files import write_atomically
from mflows.flow import Flow
from mflows.models import BUILDERS
from mflows.version import __version__

FORMAT = 3
READ = (2, FORMAT)
"""Version of the file format, and those that can be read; files of others are refused."""
BEFORE = ".flow.safetensors.before"
"""The tensors of the flow that is being replaced, until the new one is whole."""


class LoadError(ValueError):
    """A file that cannot be read as what it should be; the message says why and what to do."""


def save(folder: str | Path, flow: Flow) -> None:
    """Write ``flow.json`` and ``flow.safetensors`` into ``folder``, replacing what is there.

    Both files are written whole or not at all, and together: until the second is there, the flow
    that was in the folder is what `load` reads.

    Raises:
        ValueError: If the flow was not built by a function of ``mflows.models``, or one decorated
            with ``mflows.models.remembered``, and so cannot be rebuilt from its name.
    """
    if flow.built is None:
        raise ValueError(
            "Expected a flow built by a function of mflows.models, which can be rebuilt from its "
            "name and arguments; this one was put together by hand. Build it in a function "
            "decorated with mflows.models.remembered, and load it with load(folder, build=...)."
        )
    name, arguments = flow.built
    tensors = safetensors.numpy.save(arrays(flow))
    described = {
        "format": FORMAT,
        "mflows": __version__,
        "model": name,
        "arguments": json.loads(arguments),
        "sha256": hashlib.sha256(tensors).hexdigest(),
    }
    described["checksum"] = checksum(described)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    before = folder / BEFORE
    if (folder / "flow.json").is_file() and (folder / "flow.safetensors").is_file():
        write_atomically(before, (folder / "flow.safetensors").read_bytes())
    write_atomically(folder / "flow.safetensors", tensors)
    write_atomically(folder / "flow.json", json.dumps(described, indent=2).encode())
    before.unlink(missing_ok=True)


def load(folder: str | Path, *, build: Callable[..., Flow] | None = None) -> Flow:
    """Read the flow that ``save`` wrote into ``folder``; its numbers are bit-identical.

    Args:
        folder: The folder.
        build: The function that built the flow, if it is not one of ``mflows.models``: one of your
            own, decorated with ``mflows.models.remembered``.

    Raises:
        LoadError: If a file is missing, truncated, edited, or of another format.
    """
    folder = Path(folder)
    for name in ("flow.json", "flow.safetensors"):
        if not (folder / name).is_file():
            raise LoadError(
                f"Expected a saved flow in {folder}; there is no {name}. Give the run folder that "
                "`mflows fit` or `mflows.save` wrote."
            )
    described = _described(folder / "flow.json")
    tensors = _tensors(folder, described["sha256"])
    if tensors is None:
        raise LoadError(
            f"{folder / 'flow.safetensors'} is not the file that was saved with flow.json: it is "
            "truncated, edited, or from another run. Restore both files from the same run."
        )
    build = _builder(described["model"], build, folder)
    try:
        values = safetensors.numpy.load(tensors)
    except safetensors.SafetensorError as error:
        raise LoadError(
            f"{folder / 'flow.safetensors'} is no safetensors file: {error}."
        ) from error
    largest, numbers = _largest(described["arguments"]), sum(a.size for a in values.values())
    if largest > numbers:
        raise LoadError(
            f"{folder / 'flow.json'} describes a flow of sizes up to {largest:,}, but the "
            f"{numbers:,} numbers of flow.safetensors are too few for it. Restore both files from "
            "the same run."
        )
    try:
        skeleton = eqx.filter_eval_shape(build, jr.key(0), **described["arguments"])
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise LoadError(
            f"{folder / 'flow.json'} describes a flow that mflows {__version__} cannot build: "
            f"{error}. It was written by mflows {described.get('mflows')}; upgrade mflows."
        ) from error
    return fill(skeleton, values, folder)


def _largest(arguments: Any) -> int:
    """The largest size among the arguments of a builder, the product of a shape included."""
    if isinstance(arguments, dict):
        return max(map(_largest, arguments.values()), default=0)
    if isinstance(arguments, list):
        whole = all(type(size) is int and size > 0 for size in arguments)
        return math.prod(arguments) if whole else max(map(_largest, arguments), default=0)
    return arguments if type(arguments) is int else 0


def _tensors(folder: Path, digest: str) -> bytes | None:
    """The tensors that belong to flow.json, those of before if `save` was stopped in between."""
    for name in ("flow.safetensors", BEFORE):
        if (folder / name).is_file():
            tensors = (folder / name).read_bytes()
            if hashlib.sha256(tensors).hexdigest() == digest:
                return tensors
    return None


def _builder(name: str, given: Callable[..., Flow] | None, folder: Path) -> Callable[..., Flow]:
    if given is None and name in BUILDERS:
        return BUILDERS[name]
    if given is None:
        raise LoadError(
            f"The flow in {folder} was built by {name!r}, which is no function of mflows.models of "
            f"mflows {__version__}. Give your own with load(folder, build={name}), or "
            "upgrade mflows."
        )
    if given.__name__ != name:
        raise LoadError(
            f"Expected build={name}, the function that built the flow in {folder}; got "
            f"{given.__name__}."
        )
    return given


def arrays(tree: PyTree) -> dict[str, np.ndarray]:
    """Every array of a PyTree, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def fill(skeleton: PyTree, values: dict[str, np.ndarray], source: str | Path) -> PyTree:
    """``skeleton`` with the arrays of ``values`` in the place of its own.

    Raises:
        LoadError: If names or shapes differ.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(skeleton)
    wanted = {jax.tree_util.keystr(path): leaf for path, leaf in paths if _is_array(leaf)}
    values = _of_today(wanted, values)
    if wanted.keys() != values.keys():
        odd = sorted(wanted.keys() ^ values.keys())
        raise LoadError(
            f"The arrays in {source} are not those of this flow: {len(odd)} names differ, the "
            f"first is {odd[0]}. Was it written with other settings or another version?"
        )
    for name, leaf in wanted.items():
        if leaf.shape != values[name].shape:
            raise LoadError(
                f"Expected array {name} of shape {leaf.shape} in {source}; got "
                f"{values[name].shape}."
            )
        both = {np.dtype(leaf.dtype).name, values[name].dtype.name}
        if len(both) > 1 and both != {"float32", "float64"}:  # either precision is read in either
            raise LoadError(
                f"Expected array {name} of {leaf.dtype} in {source}; got {values[name].dtype}."
            )
    finer = [n for n, leaf in wanted.items() if values[n].dtype.itemsize > leaf.dtype.itemsize]
    if any(np.any(values[n].astype(wanted[n].dtype) != values[n]) for n in finer):
        warnings.warn(
            f"{source} holds double precision, which is rounded: JAX computes in single. For the "
            'saved numbers call jax.config.update("jax_enable_x64", True) first.',
            stacklevel=3,
        )
    leaves = [
        jnp.asarray(values[jax.tree_util.keystr(path)]) if _is_array(leaf) else leaf
        for path, leaf in paths
    ]
    return jax.tree_util.tree_unflatten(structure, leaves)


def _of_today(wanted: dict[str, Any], values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a flow of mflows 0.1, and those that today's has besides."""
    start = {"scale": 1.0, "lowest": -np.inf, "highest": np.inf, "distances": np.inf}
    filled = {}
    for part in (".conditions", ".remainder.", ".distances"):
        new = [name for name in wanted if part in name]
        if values.keys().isdisjoint(new):
            for name in new:
                value = next((start[each] for each in start if f".{each}." in name), 0.0)
                filled[name] = np.full(wanted[name].shape, value)
    return {**filled, **values}


def _is_array(leaf) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _described(path: Path) -> dict:
    try:
        described = json.loads(path.read_text())
        signed = described.pop("checksum")
        version = described["format"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise LoadError(f"{path} is not a saved flow, or is truncated: {error!r}.") from error
    if version not in READ:
        raise LoadError(
            f"{path} has format {version}, written by mflows {described.get('mflows')}; this is "
            f"mflows {__version__}, which reads format {FORMAT}. {_remedy(version)}"
        )
    if signed != checksum(described):
        raise LoadError(f"{path} was edited after it was saved. Restore the original.")
    kinds = {"model": str, "arguments": dict, "sha256": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(described.get(name), kind)]
    if wrong:
        raise LoadError(f"{path} is not a saved flow: {', '.join(wrong)} is not as it should be.")
    return described


def _remedy(version) -> str:
    if version == 1:  # placements held dense matrices, not reflections
        return "Fit the flow again, or load it with the version that wrote it."
    return "Upgrade mflows."


def checksum(described: Mapping[str, Any]) -> str:
    """Digest of what a JSON file says, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
