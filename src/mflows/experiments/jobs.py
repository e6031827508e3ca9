"""Run independent jobs, side by side on several cores if asked to."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

_ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def run_jobs(function: Callable[..., Any], arguments: Iterable[tuple], jobs: int) -> Iterator[Any]:
    """Yield ``function(*each)`` as they finish, ``jobs`` processes at a time.

    With one job everything runs in this process, in order. With more, every process uses one
    thread, so that they do not fight for cores.
    """
    arguments = list(arguments)
    if jobs == 1 or len(arguments) == 1:
        for each in arguments:
            yield function(*each)
        return
    with (
        _environment(_ONE_THREAD),
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
    ):
        for done in as_completed([pool.submit(function, *each) for each in arguments]):
            yield done.result()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables, which child processes inherit, for the length of a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
