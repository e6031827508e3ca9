"""``mflows project``: points moved onto the manifold."""

from typing import Annotated

import typer

from mflows.cli.options import Output, RunFolder, Table
from mflows.cli.precision import open_run


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
    table = opened.load(data)
    move = opened.flow.nearest if nearest else opened.flow.project
    save_array(out, np.asarray(move(table.x, table.condition)), opened.source.names)
    print(f"Wrote {len(table):,} rows to {out}.")
