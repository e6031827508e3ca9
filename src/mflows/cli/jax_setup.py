"""How commands set JAX up: the cache of compiled programs, speed of compiling, precision.

Compiled programs stay on disk, so that the second time a command compiles nothing that it did
before. JAX keeps them where its own ``JAX_COMPILATION_CACHE_DIR`` says; where that says nothing,
they go to ``mflows/xla`` in the user's cache folder, which may be deleted at any time. The
variables are set for the program and what it starts; importing the library sets none.

The precision is asked for once, in ``fit``, and kept with the run.
"""

import os
from importlib.metadata import version
from pathlib import Path


def keep_compiled() -> None:
    """Let JAX keep what it compiles; before it is imported."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # no home
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(caches / "mflows" / "xla")
    # The small programs too: a fit has dozens.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def compile_quickly() -> None:
    """Let XLA compile quickly rather than well, for short versions; before JAX is imported."""
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    if version("jaxlib").startswith("0.10."):  # another one may not know the flag, and stop
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"
        os.environ["XLA_FLAGS"] = flags.strip()


def use(precision: str | None) -> None:
    """Let JAX compute in double precision, if that is wanted; before anything is computed."""
    import jax

    if precision == "float64":
        jax.config.update("jax_enable_x64", True)


def open_run(folder: Path):
    """Open a run in the precision in which it was trained."""
    from mflows import runs

    use(runs.read_config(folder)[0].precision)
    return runs.open_run(folder)
