"""``mflows project``: points moved onto the manifold."""

from typing import Annotated

import typer

from mflows.cli.jax_setup import open_run
from mflows.cli.options import Output, RunFolder, Table
from mflows.cli.progress import in_pieces


def project(
    run: RunFolder,
    data: Table,
    out: Output,
    nearest: Annotated[
        bool,
        typer.Option(
            "--nearest",
            help="Search for the nearest point of the manifold, rather than decode(encode(x)).",
        ),
    ] = False,
) -> None:
    """Write every row of a table projected to the manifold, in the data's own units.

    **Example**

        mflows project runs/galaxies new.csv --out projected.npy
    """
    import numpy as np

    from mflows.data import check_output, save_array

    check_output(out)
    opened = open_run(run)
    move = opened.flow.nearest if nearest else opened.flow.project
    moved = [np.asarray(move(part.x, part.condition)) for part in in_pieces(opened, data)]
    points = np.concatenate(moved)
    save_array(out, points, opened.source.names)
    print(f"Wrote {len(points):,} rows to {out}.")
