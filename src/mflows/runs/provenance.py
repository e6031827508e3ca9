"""Where a run comes from: version, commit, machine, command and times."""

import os
import platform
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from mflows.version import __version__

UNKNOWN: dict[str, Any] = {
    "mflows": "unknown",
    "commit": None,
    "command": "unknown",
    "seed": None,
    "machine": {},
    "status": "unknown",
    "started": None,
    "resumed": [],
    "ended": None,
    "wall_seconds": None,
    "cpu_seconds": None,
    "notes": [],
}
"""What ``provenance.json`` would say, where it is lost."""


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(seed: int) -> dict[str, Any]:
    """All that ``provenance.json`` says when a run starts."""
    return {
        **UNKNOWN,
        "mflows": __version__,
        "commit": commit(),
        "command": command(),
        "seed": seed,
        "machine": machine(),
        "status": "training",
        "started": now(),
    }


class Clock:
    """Times of a training that starts now.

    Args:
        before: Seconds that earlier, interrupted parts of it took.
    """

    def __init__(self, before: float):
        self._started, self._computed = time.monotonic() - before, time.process_time()

    def ended(self, status: str) -> dict[str, Any]:
        """What ``provenance.json`` says of the end, if it is now."""
        return {
            "status": status,
            "ended": now(),
            "wall_seconds": round(time.monotonic() - self._started, 3),
            "cpu_seconds": round(time.process_time() - self._computed, 3),
        }


def command() -> str:
    """The command line that runs."""
    program = Path(sys.argv[0])
    name = "mflows" if program.parts[-2:] == ("cli", "__main__.py") else program.name
    return shlex.join([name, *sys.argv[1:]])


def machine() -> dict[str, Any]:
    """What computes: processor, Python, JAX, device and precision."""
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": platform.platform(),
        "cores": cores,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "device": f"{jax.device_count()} x {device.device_kind}",
        "precision": str(jnp.zeros(()).dtype),
    }


def commit() -> str | None:
    """Commit of the source in use, ending in ``-dirty`` if it was changed since.

    ``None`` if the package does not lie in a repository that tracks it.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    """What git says of the folder of this file."""
    options: dict[str, Any] = {"check": True, "capture_output": True, "timeout": 10, "text": True}
    return subprocess.run(["git", *arguments], cwd=Path(__file__).parent, **options).stdout.strip()
