"""``mflows tables``: the results of experiments as Markdown."""

from pathlib import Path
from typing import Annotated

import typer


def tables(
    runs: Annotated[
        Path, typer.Argument(help="Folder with the folders that `mflows experiment` wrote.")
    ] = Path("runs"),
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("docs/results"),
) -> None:
    """Write one Markdown file of results for every experiment that was run.

    **Example**

        mflows tables runs --out docs/results
    """
    from mflows.experiments.results import write_tables

    written = write_tables(runs, out)
    if not written:
        raise typer.BadParameter(
            f"Expected results.json of an experiment in {runs}/NAME; found none. Run "
            "`mflows experiment NAME` first."
        )
    for path in written:
        print(f"Wrote {path}.")
