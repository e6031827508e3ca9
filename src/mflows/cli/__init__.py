"""The command line: ``mflows fit | sweep | score | sample | project | report | experiment | ...``.

Commands are thin and import what they need when they run, so that ``--help`` answers at once.
"""

import io
import sys

import typer

from mflows.cli import experiment, fit, pictures, simulate, sweep, tables, tour, use
from mflows.cli.errors import OneLineErrors
from mflows.cli.jax_setup import keep_compiled
from mflows.version import __version__

HELP = """Manifold-learning flows: learn the manifold on which data live, and a density on it.

A first run, from a table to a report:

    mflows fit galaxies.parquet --latent-dim 2 --out runs/galaxies

    mflows report runs/galaxies

    mflows score runs/galaxies new.csv --out scores.csv
"""

app = typer.Typer(
    cls=OneLineErrors,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    fit.fit,
    sweep.sweep,
    use.score,
    use.sample,
    use.project,
    use.report,
    tour.tour,
    experiment.experiment,
    tables.tables,
    simulate.simulate,
    pictures.pictures,
):
    app.command()(command)
app.command("data", hidden=True)(simulate.simulate)  # its earlier name


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mflows {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and stop."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; the entry point of the program ``mflows``."""
    for stream in (sys.stdout, sys.stderr):  # file names and symbols that it cannot encode
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    keep_compiled()
    app(prog_name="mflows")


__all__ = ["app", "main"]
