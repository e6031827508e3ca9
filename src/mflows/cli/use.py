"""Commands on a trained flow: ``mflows score``, ``sample``, ``project`` and ``report``."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from mflows.cli.jax_setup import open_run
from mflows.cli.options import MovedData, Output, RunFolder, Table, check_memory, pairs


def score(run: RunFolder, data: Table, out: Output) -> None:
    """Write log_prob and distance of every row of a table.

    Read the two together: log_prob is the density on the manifold at the point's projection,
    distance is how far off the manifold the point lies. For a conditional flow the table holds the
    condition's columns too. A .npy, .h5 or .parquet file may be larger than memory. A VAE has no
    density: of it a lower bound is written, log_prob_bound.

    **Example**

        mflows score runs/galaxies new.csv --out scores.csv
    """
    import jax
    import numpy as np

    from mflows.data import check_output, save_table

    check_output(out)
    opened = open_run(run)
    if not opened.flow.has_density:
        _score_by_bounds(opened, data, out)
        return
    scores = [opened.score(piece) for piece in _in_pieces(opened, data)]
    found = jax.tree.map(lambda *parts: np.concatenate(parts), *scores)
    doubtful = int(found.ill_conditioned.sum())
    save_table(out, {"log_prob": found.log_prob, "distance": found.distance})
    print(
        f"Wrote {len(found.log_prob):,} rows to {out}: mean log_prob {found.log_prob.mean():.4g}, "
        f"mean distance {found.distance.mean():.4g}."
    )
    if doubtful:
        warnings.warn(
            f"The chart is ill-conditioned at {doubtful:,} of {len(found.log_prob):,} rows: their "
            "log_prob may be off by .01 nats and more. Fit with --precision float64, or with fewer "
            "latent dimensions.",
            stacklevel=1,
        )


def _score_by_bounds(run, data: Path, out: Path) -> None:
    import jax.random as jr
    import numpy as np

    from mflows.data import save_table
    from mflows.metrics import log_prob_bound

    bounds, distances = [], []
    for number, piece in enumerate(_in_pieces(run, data)):
        bounds.append(log_prob_bound(run.flow, piece, jr.key(number)))
        distances.append(np.asarray(run.flow.distance(piece.x, piece.condition)))
    bound, distance = np.concatenate(bounds), np.concatenate(distances)
    save_table(out, {"log_prob_bound": bound, "distance": distance})
    print(
        f"Wrote {len(bound):,} rows to {out}: mean bound of log_prob {bound.mean():.4g}, mean "
        f"distance {distance.mean():.4g}."
    )


def sample(
    run: RunFolder,
    out: Output,
    number: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--number",
            help="How many points. [default: 1000, or one per row of --condition-from]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="Seed of the draws.")] = 0,
    condition: Annotated[
        str,
        typer.Option(metavar="A=1,B=2", help="Condition of all points, for a conditional flow."),
    ] = "",
    condition_from: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Table with the condition's columns, for a conditional flow; its rows are taken "
            "in turn.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw new points from a flow; those of a conditional flow are written with their condition.

    **Examples**

        mflows sample runs/galaxies -n 1000 --out samples.npy

        mflows sample runs/surface -n 1000 --condition theta=0.5 --out samples.csv

        mflows sample runs/surface --condition-from prior.csv --out samples.csv
    """
    if number is not None and number < 1:
        raise typer.BadParameter(f"Expected -n >= 1; got {number}.")
    import jax.random as jr
    import numpy as np

    from mflows.data import check_output, save_array

    check_output(out)
    opened = open_run(run)
    check_memory(number or 0, opened.flow.dim)
    names = opened.condition_names
    key = jr.key(seed)
    if not names:
        if condition or condition_from is not None:
            raise ValueError(f"{run} is not conditional; leave the condition out.")
        points = opened.flow.sample(key, (number or 1000,))
        save_array(out, np.asarray(points), opened.names)
    else:
        theta = _conditions(condition, condition_from, names, number)
        points = opened.flow.sample(key, condition=theta)
        more = {} if out.suffix.lower() == ".npy" else dict(zip(names, theta.T, strict=True))
        save_array(out, np.asarray(points), opened.names, more=more)
    print(f"Wrote {len(points):,} points to {out}.")


def _conditions(text: str, table: Path | None, names: tuple[str, ...], number: int | None):
    """One condition for every point, shape (number, C)."""
    import numpy as np

    if bool(text) == (table is not None):
        example = ",".join(f"{name}=0" for name in names)
        raise ValueError(
            f"The flow is conditional: expected either --condition {example} or --condition-from "
            f"with a table of {', '.join(names)}; got {'both' if text else 'neither'}."
        )
    if table is not None:
        rows = _rows(table, names)
        return rows if number is None else np.resize(rows, (number, len(names)))
    given = pairs(text, "--condition")
    if set(given) != set(names):
        raise ValueError(
            f"Expected values of {', '.join(names)} in --condition; got {', '.join(given)}."
        )
    try:
        row = np.array([float(given[name]) for name in names])
    except ValueError:
        raise ValueError(f"Expected numbers in --condition; got {text!r}.") from None
    if not np.isfinite(row).all():
        raise ValueError(f"Expected finite numbers in --condition; got {text!r}.")
    return np.tile(row, (number or 1000, 1))


def _rows(table: Path, names: tuple[str, ...]):
    """The condition's columns of a table, which may hold others; or its points, flattened."""
    from mflows.data import Data, load_like
    from mflows.data.read import read_table

    source = read_table(table)
    if set(names) <= set(source.present):
        return Data(source.columns(names)[:], names=names).x
    if not source.names and math.prod(source.shape) == len(names):  # points of several axes
        return Data(source.columns(())[:]).x.reshape(-1, len(names))
    return load_like(table, names=names).x


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
    moved = [np.asarray(move(part.x, part.condition)) for part in _in_pieces(opened, data)]
    points = np.concatenate(moved)
    save_array(out, points, opened.names)
    print(f"Wrote {len(points):,} rows to {out}.")


def report(
    run: RunFolder,
    data: MovedData = None,
) -> None:
    """Write report.html into the run folder: one page that needs no network.

    It shows what was fitted and how, learning curves, reconstruction and density on train and
    held-out rows, data against samples, and the manifold itself where it can be drawn.

    **Example**

        mflows report runs/galaxies
    """
    from mflows.pages.report import write_report

    print(f"Wrote {write_report(open_run(run), data=data)}.")


def _in_pieces(run, path: Path) -> Iterator:
    """Rows for a run, some at a time; with a bar on standard error, on a terminal.

    Args:
        run: The `Run` whose columns are read.
        path: The file, which may be larger than memory.
    """
    from rich.console import Console
    from rich.progress import Progress

    data, before = run.load(path, stream=True), 0
    for note in data.notes:
        typer.echo(note)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Rows", total=len(data))
        for piece in data.pieces():
            run.check_reach(path, piece, rows_before=before)
            yield piece
            before += len(piece)
            bar.advance(task, len(piece))
