"""Single or double precision of the numbers: asked for once, in ``fit``, and kept with the run."""

from pathlib import Path


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
