"""Jobs apart from the tests, so that the processes that run them need not import JAX."""

import os
import sys
import time
from pathlib import Path

from mflows import signals
from mflows.experiments.jobs import run_jobs


def make_slowly(folder: Path) -> None:
    folder.mkdir()
    time.sleep(0.2)


def work_for_long(file: Path) -> None:
    """Write the number of this process to a file, and work."""
    file.with_suffix(".part").write_text(str(os.getpid()))
    file.with_suffix(".part").rename(file)
    time.sleep(600)


if __name__ == "__main__":
    signals.listen()
    list(run_jobs(work_for_long, [(Path(name),) for name in sys.argv[1:]], 2))
