"""Run independent jobs, side by side on several cores if asked to."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.queues import Queue
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import (
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

if TYPE_CHECKING:
    from mflows.simulators import Generator


def run_jobs(function: Callable[..., Any], arguments: Iterable[tuple], jobs: int) -> Iterator[Any]:
    """Yield ``function(*each)`` as they finish, ``jobs`` processes at a time.

    With one job everything runs in this process, in order. With more, how many have ended is shown
    on standard error, and every process keeps to a core of its own where the system allows it:
    threads that wander between cores cost small models more than half their speed.
    """
    arguments = list(arguments)
    jobs = min(jobs, len(arguments))
    if jobs <= 1:
        for each in arguments:
            yield function(*each)
        return
    context, others = get_context("spawn"), active_children()
    cores = context.Queue()
    for job in range(jobs):
        cores.put(job)
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start_worker, initargs=(cores,)
    )
    console = Console(stderr=True)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = progress.add_task(f"{jobs} at a time, ended", total=len(arguments))
    try:
        with progress:
            for done in as_completed([pool.submit(function, *each) for each in arguments]):
                progress.advance(task)
                progress.stop()  # leaves the line to what the caller prints
                yield done.result()
                progress.start()
    except (KeyboardInterrupt, GeneratorExit):  # of a SIGTERM, too, which the workers do not get
        for worker in set(active_children()) - set(others):
            worker.terminate()
        raise
    finally:  # after an error only those end that run or come next
        pool.shutdown(cancel_futures=True)


def generated(source: "Generator", events: int, seed: int) -> dict[str, np.ndarray]:
    """Points of a generator, made in parts on all cores: ``x``, and what else is known of them."""
    numbered = list(enumerate(source.parts(events, seed)))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    done = dict(run_jobs(_part, [(source.part, *each) for each in numbered], cores or 1))
    parts = [done[index] for index, _ in numbered]
    return {name: np.concatenate([part[name] for part in parts])[:events] for name in parts[0]}


def _part(make: Callable, index: int, arguments: tuple) -> tuple[int, dict]:
    return index, make(*arguments)


def _start_worker(numbers: Queue) -> None:
    """Keep to one core, and end with the process that asks for the jobs.

    Runs before the process imports JAX, whose threads are as many as the cores it sees.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    number = numbers.get()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
