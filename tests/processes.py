"""Processes forked from one that has imported the library, which takes longer than most tests."""

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["mflows.__main__", "mflows.cli", "mflows.runs", "mflows.sweeps"])
PATIENCE = 240


class Python:
    """``python -c code arguments``, used like a ``subprocess.Popen``.

    Args:
        code: What it runs.
        arguments: What it finds in ``sys.argv``.
        config: Changes of JAX's config; it was imported before ``variables`` are set.
        variables: Changes of the environment.
    """

    def __init__(
        self,
        code: str,
        *arguments: object,
        config: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ):
        self._out, self._err = NamedTemporaryFile(), NamedTemporaryFile()  # noqa: SIM115
        self._process = SERVER.Process(
            target=_run,
            args=(
                code,
                ["-c", *map(str, arguments)],
                dict(config or {}),
                dict(variables or {}),
                (self._out.name, self._err.name),
            ),
            daemon=True,
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def said(self) -> str:
        """What it has written to standard output until now."""
        return Path(self._out.name).read_text()

    def communicate(self) -> tuple[str, str]:
        """Wait until it ends; what it has written to standard output and error."""
        self._process.join(PATIENCE)
        with self._out, self._err:
            out, err = Path(self._out.name).read_text(), Path(self._err.name).read_text()
        assert self.returncode is not None, (out, err)
        return out, err


DOUBLE = {"jax_enable_x64": True}


def mflows(*arguments: object, **changes: Mapping[str, Any]) -> Python:
    """The command line."""
    return Python("from mflows.__main__ import main; main()", *arguments, **changes)


def _run(code: str, argv: list[str], config: dict, variables: dict, files: tuple[str, str]) -> None:
    for stream, file in zip((sys.stdout, sys.stderr), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream.fileno())
    os.environ.update(variables)
    sys.argv = argv
    import jax

    for name, value in config.items():
        jax.config.update(name, value)
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()  # a forked process would end without
