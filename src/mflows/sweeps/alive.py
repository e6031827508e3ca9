"""Which trials have a worker that lives.

Optuna's own heartbeats need an SQL database. A file whose time of change is renewed every few
seconds works on every disk that workers share, beside a journal too. A worker that was killed stops
renewing; on its own machine its process is gone, which shows at once. Whoever writes or judges such
a file holds the lock of the sweep.
"""

import json
import os
import platform
from pathlib import Path
from threading import Event, Thread

BEAT, STALE = 5.0, 60.0
"""Seconds between two signs of life, and without one until a worker counts as dead."""


class Heartbeat:
    """Signs of life of this process, in a file, while the context lasts.

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
    """Whether the worker behind a file of signs of life is gone.

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
