"""Compiled programs stay on disk: the second time a command compiles nothing that it did before.

JAX keeps them where its own ``JAX_COMPILATION_CACHE_DIR`` says; where that says nothing, they go to
``mflows/xla`` in the user's cache folder, which may be deleted at any time. The variables are set
for the program and what it starts; importing the library sets none.
"""

import os
from pathlib import Path


def keep_compiled() -> None:
    """Let JAX keep what it compiles; before it is imported."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(caches / "mflows" / "xla")
    # The small programs too: a fit has dozens.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
