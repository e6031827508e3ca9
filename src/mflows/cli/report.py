"""``mflows report``: one HTML page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from mflows.cli.jax_setup import open_run
from mflows.cli.options import RunFolder


def report(
    run: RunFolder,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The table the run was trained on, if it was moved since.", show_default=False
        ),
    ] = None,
) -> None:
    """Write report.html into the run folder: one page that needs no network.

    It shows what was fitted and how, learning curves, reconstruction and density on train and
    held-out rows, data against samples, and the manifold itself where it can be drawn.

    **Example**

        mflows report runs/galaxies
    """
    from mflows.pages.report import write_report

    print(f"Wrote {write_report(open_run(run), data=data)}.")
