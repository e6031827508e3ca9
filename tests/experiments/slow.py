"""A job apart from the tests, so that the processes that run it need not import JAX."""

import time
from pathlib import Path


def make_slowly(folder: Path) -> None:
    folder.mkdir()
    time.sleep(0.2)
