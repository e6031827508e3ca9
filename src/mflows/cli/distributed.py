"""Several processes that train one flow together, and what happens when one of them is lost.

JAX notices a lost process by a broken connection or by missing heartbeats, and then raises or
ends this process at once, from C++. So that a message comes in every case, it is left with a
small process that prints it as soon as this one is gone without having said that all is well.
"""

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from mflows.cli.errors import status_of

LAST_WORDS = "import sys; sys.stdin.read(1) or print(sys.argv[1], file=sys.stderr)"


def join(coordinator: str | None, processes: int | None, process: int | None) -> int:
    """Join the other processes, before JAX computes anything; returns how many they are.

    Without arguments they are found by the variables that Slurm, Open MPI and others set; where
    there are none, this process is alone, with all devices of its machine.
    """
    import jax

    explicit = (coordinator, processes, process)
    if any(given is not None for given in explicit) and None in explicit:
        raise ValueError(
            "Expected --coordinator, --processes and --process together, or none of them on "
            "Slurm, Open MPI and other clusters that JAX knows."
        )
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    try:
        jax.distributed.initialize(*explicit)
    except ValueError as error:
        if None not in explicit or "coordinator_address" not in str(error):
            raise
    return jax.process_count()


@contextmanager
def together(processes: int, again: str) -> Iterator[None]:
    """While the block runs, a lost process ends the others with a message.

    Args:
        processes: How many train together.
        again: The command that goes on, for every process.
    """
    if processes == 1:
        yield
        return
    go_on = f"When all processes have ended, go on from the last checkpoint with, on each: {again}"
    lost = f"Training stopped: another process was lost, or this one was killed. {go_on}"
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LAST_WORDS, lost],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is not for it
    )
    assert watcher.stdin is not None
    try:
        yield
    except KeyboardInterrupt:
        _leave(watcher, f"Stopped. {go_on}", 130)
    except Exception as error:
        status = status_of(error)
        if status is not None:
            _leave(watcher, f"Error: {error}", status)
        reason = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
        _leave(watcher, f"{lost} ({reason})", 1)
    watcher.communicate(b".")


def _leave(watcher: subprocess.Popen, message: str, status: int) -> None:
    """Say what has happened and end without waiting for the other processes."""
    typer.echo(message, err=True)
    watcher.communicate(b".")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
