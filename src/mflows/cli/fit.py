"""``mflows fit``: train a flow on a table."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mflows.cli.options import literal, names, pairs
from mflows.cli.precision import use


def fit(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Table to fit: .npy .npz .csv .parquet or .h5. Not needed with --resume.",
            show_default=False,
        ),
    ] = None,
    latent_dim: Annotated[
        int | None,
        typer.Option("--latent-dim", "-d", help="Dimension n of the manifold.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder to write. [default: runs/ and the name of DATA]"),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="m-flow (learned manifold), af (all of space) or fom (prescribed manifold)."
        ),
    ] = "m-flow",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="How to train: for m-flow manifold-then-density (the default), alternating, "
            "simultaneous, scandal, rectangular, canonical, optimal-transport, "
            "alternating-optimal-transport or maximum-likelihood; for af maximum-likelihood or "
            "denoising; for fom maximum-likelihood.",
        ),
    ] = None,
    condition: Annotated[
        str, typer.Option(metavar="A,B", help="Columns that are the condition, not data.")
    ] = "",
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the data, shared by the phases. [default: 50, more for small data]"
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Points per step. [default: 100; with optimal transport 1000]"),
    ] = None,
    learning_rate: Annotated[
        float,
        typer.Option(help="Learning rate; each phase of the recipe scales it."),
    ] = 1e-3,
    validation_fraction: Annotated[
        float, typer.Option(help="Part of the rows held out to choose the best epoch.")
    ] = 0.1,
    settings: Annotated[
        str,
        typer.Option(
            "--set",
            metavar="NAME=VALUE,...",
            help="Settings of the model, such as width=128,chart_layers=8 or manifold=sphere.",
        ),
    ] = "",
    recipe_settings: Annotated[
        str,
        typer.Option(
            "--recipe-set",
            metavar="NAME=VALUE,...",
            help="Settings of the recipe, such as patience=10 or weight=1e4.",
        ),
    ] = "",
    drop_constant: Annotated[
        bool, typer.Option("--drop-constant", help="Leave out columns with one value only.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    precision: Annotated[
        str | None,
        typer.Option(help="float32 or float64. [default: JAX's own, float32]"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with an interrupted run, to the same numbers."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")
    ] = False,
) -> None:
    """Train a flow on a table and write a run folder.

    **Examples**

        mflows fit galaxies.parquet --latent-dim 2 --out runs/galaxies

        mflows fit surface.npz --latent-dim 2 --condition theta --epochs 50

        mflows fit table.csv --model af

        mflows fit directions.csv --model fom --set manifold=sphere

        mflows fit --resume --out runs/galaxies
    """
    if data is None and (out is None or not resume):
        raise typer.BadParameter("Missing the table to fit; or give --resume and --out.")
    out = out or Path("runs") / Path(str(data)).stem
    from mflows import runs

    runs.check_model(model)
    use(precision)
    asked = runs.Config(
        data=str(data),
        latent_dim=latent_dim,
        model=model,
        recipe=recipe,
        settings=_literals(settings, "--set"),
        recipe_settings=_literals(recipe_settings, "--recipe-set"),
        condition=names(condition),
        drop_constant=drop_constant,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation_fraction=validation_fraction,
        seed=seed,
        precision=precision,
    )
    if resume and (out / "config.json").is_file():
        asked = _completed(context, runs.read_config(out)[0], asked)
        use(asked.precision)
    elif data is None:
        raise ValueError(f"There is no run in {out} to go on with. Give the table to fit.")
    try:
        run = runs.train(
            out, asked, overwrite=overwrite, resume=resume, progress=sys.stderr.isatty()
        )
    except KeyboardInterrupt:
        again = shlex.join(["mflows", "fit", "--resume", "--out", str(out)])
        typer.echo(f"Stopped. Go on to the same numbers with: {again}", err=True)
        raise typer.Exit(130) from None
    _say(run)


def _literals(given: str, option: str) -> dict:
    return {name: literal(value) for name, value in pairs(given, option).items()}


def _completed(context: typer.Context, stored, asked):
    """The stored config with the options that were given on the command line."""
    given = {
        name: getattr(asked, name)
        for name in stored.as_dict()
        if (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    }
    return replace(stored, **given)


def _say(run) -> None:
    """Print how good the fit is and what to do next."""
    from rich.console import Console
    from rich.table import Table

    held_out = run.split().held_out[:10_000]
    found = run.score(held_out)
    table = Table(title=f"{run.config.model} on {Path(run.config.data).name}", title_justify="left")
    table.add_column("held out", justify="left")
    for name in ("mean", "median", "worst"):
        table.add_column(name, justify="right")
    log_prob, distance = (column.astype(float) for column in (found.log_prob, found.distance))
    if run.flow.latent_dim < run.flow.shape[0]:
        values = (distance.mean(), _median(distance), distance.max())
        table.add_row("reconstruction error", *(f"{value:.4g}" for value in values))
    values = (log_prob.mean(), _median(log_prob), log_prob.min())
    table.add_row("log_prob (nats)", *(f"{value:.4g}" for value in values))
    seconds = sum(row["seconds"] for row in run.history)
    console = Console()
    console.print(table)
    console.print(
        f"{run.source.rows:,} rows, {len(run.history)} epochs, {seconds:.1f} s of training.",
        highlight=False,
    )
    folder = shlex.quote(str(run.folder))
    typer.echo(
        f"\nThe run is in {run.folder}. Next:\n"
        f"  mflows report {folder}\n"
        f"  mflows score {folder} NEW.csv --out scores.csv\n"
        f"  mflows sample {folder} -n 1000 --out samples.csv"
    )


def _median(values) -> float:
    import numpy as np

    return float(np.median(values))
