"""How the benchmarks measure: one thread, one process, rounds of everything in turn.

Import this before JAX, torch or NumPy: it keeps them to one thread.
"""

import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Call(NamedTuple):
    """Something to time, and how many units (steps, points) one call of it does."""

    function: Callable[[], object]
    units: int = 1


def measure(
    calls: Mapping[str, Call], rounds: int, *, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds per unit of each call in each round, the calls taken in turn after one warm-up.

    With ``time.process_time`` as the clock, a machine that is shared counts less.
    """
    for call in calls.values():
        call.function()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = clock()
            call.function()
            seconds[name].append((clock() - started) / call.units)
    return seconds


def milliseconds(seconds: list[float]) -> str:
    """The median."""
    return f"{1e3 * statistics.median(seconds):.3g}"


def ratio(peer: list[float], own: list[float]) -> str:
    """How many times as long the peer takes: median and range of the rounds' ratios."""
    ratios = [a / b for a, b in zip(peer, own, strict=True)]
    return f"{statistics.median(ratios):.3g}x ({min(ratios):.3g}-{max(ratios):.3g})"
