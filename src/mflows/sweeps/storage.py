"""How workers share a folder: where Optuna keeps the trials, a lock, and signs of life.

SQLite is safe against crashes, but its locks do not work on many network disks; there Optuna
recommends its journal file. Neither makes "count the trials, then take one" a single step, so that
workers hold a lock file for it. Optuna's own heartbeats need an SQL database. A file whose time of
change is renewed every few seconds works on every disk that workers share, beside a journal too. A
worker that was killed stops renewing; on its own machine its process is gone, which shows at once.
"""

import json
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import SQLAlchemyError

DEFAULT, LOCK = "optuna.db", "sweep.lock"
BEAT, STALE = 5.0, 60.0
"""Seconds between two signs of life, and without one until a worker counts as dead."""

_PATIENCE = 60  # seconds: of SQLite for another's write, and until a lock left behind is broken


def open_study(folder: Path, where: str | None, name: str) -> optuna.Study:
    """Optuna's study of a sweep, made if it does not exist; hold the lock.

    Args:
        folder: The sweep's folder.
        where: As in ``Plan.storage``.
        name: Name of the study.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a sweep says what happens itself
    storage = _open_storage(folder, where or DEFAULT)
    return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)


def _open_storage(folder: Path, where: str) -> BaseStorage:
    if "://" not in where:
        path = folder / where
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".log":
            return JournalStorage(JournalFileBackend(str(path)))
        where = f"sqlite:///{path}"
    options = {"timeout": _PATIENCE} if where.startswith("sqlite") else {}
    try:
        return RDBStorage(where, engine_kwargs={"connect_args": options})
    except (ImportError, SQLAlchemyError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            "Expected a storage that SQLAlchemy can open, such as optuna.db or "
            f"postgresql://user@host/name; got {where!r} ({reason})."
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[float]:
    """Keep other workers out; yields the time by the clock of the disk."""
    lock = JournalFileOpenLock(str(folder / "sweep"), grace_period=_PATIENCE)
    lock.acquire()
    try:
        yield (folder / LOCK).stat().st_mtime
    finally:
        try:
            lock.release()
        except RuntimeError:
            warnings.warn(
                f"{folder / LOCK} was held for more than {_PATIENCE} seconds, and another worker "
                "has broken it. Is the disk very slow?",
                stacklevel=3,
            )


class Heartbeat:
    """Signs of life of this process, in a file, while the context lasts; make it under the lock.

    ``lost`` is set when somebody has removed the file: this process was taken for dead, perhaps
    because its machine slept, and its trial was given to another.
    """

    def __init__(self, path: Path):
        self._path = path
        self._end = Event()
        self._thread = Thread(target=self._beat, daemon=True)
        self.lost = False
        path.write_text(json.dumps({"machine": _machine(), "process": os.getpid()}))

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        self._thread.join()
        if not self.lost:
            self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._end.wait(BEAT):
            try:
                os.utime(self._path)
            except FileNotFoundError:
                self.lost = True
                return


def is_dead(path: Path, now: float) -> bool:
    """Whether the worker behind a file of signs of life is gone; hold the lock.

    Args:
        path: The file.
        now: The time by the clock of the disk, as files that were just changed have it.
    """
    try:
        worker = json.loads(path.read_text())
        quiet = now - path.stat().st_mtime
    except (FileNotFoundError, ValueError):
        return True
    return quiet > STALE or (worker["machine"] == _machine() and not _runs(worker["process"]))


def _machine() -> str:
    """Where process numbers mean the same: a host, or a container on it."""
    space = Path("/proc/self/ns/pid")
    return f"{platform.node()} {os.readlink(space) if space.is_symlink() else ''}"


def _runs(process: int) -> bool:
    if os.name != "posix":
        return True  # there is no harmless way to ask
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
