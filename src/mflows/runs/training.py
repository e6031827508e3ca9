"""Train a flow into a run folder, or go on where an interrupted run stopped."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout

from mflows.files import sweep, write_atomically
from mflows.flow import Flow
from mflows.runs.config import Config
from mflows.runs.provenance import Clock, describe, now
from mflows.runs.run import (
    Run,
    open_run,
    read_config,
    read_data,
    read_history,
    read_provenance,
    write_described,
)
from mflows.runs.source import Source, check_same, parts_of
from mflows.saving import BEFORE, save
from mflows.training import TrainingDiverged, fit
from mflows.training.devices import leads

WRITTEN = (
    "flow.json",
    "flow.safetensors",
    BEFORE,
    "checkpoints",
    "history.jsonl",
    "provenance.json",
    "report.html",
    "tensorboard",
)
"""What a run folder holds besides its ``config.json``, in the order in which ``overwrite`` removes
it: after a crash in between it is an unfinished run."""
LOCK = ".lock"
"""Held while a run is written."""


def train(
    folder: str | Path,
    config: Config,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = False,
    devices: Sequence[jax.Device] | None = None,
    each_epoch: Callable[[dict], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Train the flow that ``config`` describes and keep everything about it in ``folder``.

    On bad input nothing is written.

    Args:
        folder: The run folder; made if it does not exist.
        config: What to do.
        overwrite: Replace the run that is there.
        resume: Go on with the run that is there, to the same numbers as without an interruption;
            a run that has ended is opened as it is, and without a run a new one starts.
        progress: Show live losses and the time left.
        devices: As for ``mflows.fit``. Where they belong to several processes, all of them see the
            same files, and the first one writes.
        each_epoch: As for ``mflows.fit``.
        say: Told, before training, what was done to the data.

    Raises:
        DataError: If the data cannot be loaded or used.
        ValueError: If the config makes no sense, or the folder is not free to use.
        LoadError: If the run to resume is damaged.
        TrainingDiverged: If a loss exploded; the last good flow is saved all the same.
    """
    folder = Path(folder)
    writes = leads(devices)
    if writes:
        _check_folder(folder, overwrite=overwrite, resume=resume)
    with _locked(folder) if writes else nullcontext():
        return _train(folder, config, overwrite, resume, progress, devices, each_epoch, say)


def _train(
    folder: Path,
    config: Config,
    overwrite: bool,
    resume: bool,
    progress: bool,
    devices: Sequence[jax.Device] | None,
    each_epoch: Callable[[dict], None] | None,
    say: Callable[[str], None] | None,
) -> Run:
    """`train`, while no other process writes to the folder."""
    writes = leads(devices)
    data, source = read_data(config)
    config = config.in_full()
    parts = parts_of(config, data)
    if say is not None and writes:
        for note in parts.kept.notes:
            say(note)
    config = config.resolved(len(parts.kept), data)
    flow, phases, key = config.setup(data)
    provenance = describe(config.seed)
    if resume and (folder / "config.json").is_file():
        _check_same(folder, config, source)
        if (folder / "flow.json").is_file():
            return replace(open_run(folder), parts=parts)
        provenance = _resumed(folder, provenance)
    elif writes:
        _start(folder, config, source, overwrite=overwrite)
    if writes:
        _write(folder / "provenance.json", provenance)
    clock = Clock(sum(row["seconds"] for row in read_history(folder)))
    try:
        fitted = fit(
            key,
            flow,
            parts.kept,
            phases,
            validation=parts.held_out,
            folder=folder,
            resume=resume,
            progress=progress,
            devices=devices,
            each_epoch=each_epoch,
        )
    except TrainingDiverged as error:
        if writes:
            _end(folder, error.flow, provenance | clock.ended("diverged"))
        error.args = (f"{error} The last good flow is saved in {folder}.",)
        raise
    except KeyboardInterrupt:
        if writes:
            _write(folder / "provenance.json", provenance | clock.ended("interrupted"))
        raise
    provenance |= clock.ended("finished") | {"notes": [*parts.kept.notes, *fitted.notes]}
    if writes:
        _end(folder, fitted.flow, provenance)
    return Run(folder, config, source, fitted.flow, fitted.history, provenance, parts)


def _start(folder: Path, config: Config, source: Source, *, overwrite: bool) -> None:
    """Make the folder of a new run."""
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        _remove(folder)
    write_described(folder / "config.json", {**config.as_dict(), "source": source.as_dict()})


def _resumed(folder: Path, new: dict[str, Any]) -> dict[str, Any]:
    """The provenance of a run that goes on; ``new`` where it had none yet."""
    known = read_provenance(folder) if (folder / "provenance.json").is_file() else new
    return {**known, "status": "training", "ended": None, "resumed": [*known["resumed"], now()]}


def _end(folder: Path, flow: Flow, provenance: dict[str, Any]) -> None:
    _write(folder / "provenance.json", provenance)
    save(folder, flow)  # last: a run has ended when its flow is there


def _check_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    if overwrite and resume:
        raise ValueError("Expected --resume or --overwrite; got both.")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"Expected a folder for the run; {folder} is a file.")
    if not folder.is_dir() or not _others(folder):
        return
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} holds other files and is no run folder. Give the run a folder of its own."
        )
    if not (overwrite or resume):
        raise ValueError(
            f"{folder} holds a run already. Give another --out, go on with it with --resume, or "
            "replace it with --overwrite."
        )
    read_config(folder)  # a config.json of something else is not ours to replace


def _others(folder: Path) -> list[str]:
    """What is in a folder, but for a lock and what a crash left of a file that was never there."""
    return [
        path.name
        for path in folder.iterdir()
        if path.name != LOCK and not (path.name.startswith(".") and path.suffix == ".tmp")
    ]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to the folder; it is made, and removed if it stays empty.

    Raises:
        ValueError: If another one does already.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"Another process is training in {folder}. Wait until it ends, or give another --out."
        ) from None
    try:
        sweep(folder)
        if (folder / "checkpoints").is_dir():
            sweep(folder / "checkpoints")
        yield
    finally:
        if not _others(folder):
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        for path in made:
            if any(path.iterdir()):
                break
            path.rmdir()


def _check_same(folder: Path, config: Config, source: Source) -> None:
    """Raise unless the run in ``folder`` was asked to do the same on the same data."""
    before, data = read_config(folder)
    old, new = before.as_dict(), config.as_dict()
    for name in ("precision", "stream"):  # earlier versions did not keep them
        old[name] = new[name] if old[name] is None else old[name]
    check_same("run", folder, (data, old), (source, new))


def _remove(folder: Path) -> None:
    for name in WRITTEN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _write(path: Path, values: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(values, indent=2).encode())
