"""Where Optuna keeps the trials, and the lock by which workers take turns.

SQLite is safe against crashes, but its locks do not work on many network disks; there Optuna
recommends its journal file. Neither makes "count the trials, then take one" a single step, so that
workers hold a lock file for it.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

DEFAULT, LOCK = "optuna.db", "sweep.lock"
_PATIENCE = 60  # seconds: of SQLite for another's write, and until a lock left behind is broken


def open_storage(folder: Path, where: str | None) -> BaseStorage:
    """The storage of a sweep, made if it does not exist; hold the lock.

    Args:
        folder: The sweep's folder.
        where: As in ``Plan.storage``.
    """
    where = where or DEFAULT
    if "://" not in where:
        path = folder / where
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".log":
            return JournalStorage(JournalFileBackend(str(path)))
        where = f"sqlite:///{path}"
    options = {"timeout": _PATIENCE} if where.startswith("sqlite") else {}
    return RDBStorage(where, engine_kwargs={"connect_args": options})


def open_study(folder: Path, where: str | None, name: str) -> optuna.Study:
    """The trials of a sweep; hold the lock."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a sweep says what happens itself
    return optuna.create_study(
        storage=open_storage(folder, where), study_name=name, load_if_exists=True
    )


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
