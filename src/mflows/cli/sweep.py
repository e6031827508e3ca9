"""``mflows sweep``: search settings of a run for the best ones."""

import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from mflows.cli import options
from mflows.cli.jax_setup import use

_SHOWN = 5


@options.asks_for_a_run
def sweep(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Table to fit: .npy .npz .csv .parquet or .h5, or a folder of pictures. Not "
            "needed to go on with a sweep.",
            show_default=False,
        ),
    ] = None,
    latent_dim: options.LatentDim = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="What to search, once for each: learning_rate, batch_size, epochs, latent_dim, "
            "recipe, set.NAME (as in --set) or recipe-set.NAME; in a..b, a..b:log or a|b|c.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(
            max=1_000_000, help="Total number of trials, by all workers and all calls together."
        ),
    ] = 20,
    out: Annotated[
        Path | None,
        typer.Option(help="Sweep folder to write. [default: sweeps/ and the name of DATA]"),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="What to minimise, on held-out rows: distance, log-prob or mmd. [default: "
            "distance for learned manifolds, log-prob for others]",
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune/--no-prune", help="Stop trials whose validation loss is above the median."
        ),
    ] = True,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where Optuna keeps the trials: a .log file is a journal, for network disks; any "
            "other an SQLite file; or a URL. [default: optuna.db in the sweep folder]",
        ),
    ] = None,
    **asked: Any,
) -> None:
    """Train many flows on a table and find the settings of the best one.

    The same command goes on with a sweep that was stopped; started several times, on one machine
    or on several that share the folder, its workers share the trials.

    **Examples**

        mflows sweep galaxies.parquet --latent-dim 2 --search learning_rate=1e-4..1e-2:log --search "set.width=32|64|128"

        mflows sweep table.csv --model af --search set.layers=2..10 --epochs 50 --trials 40

        mflows sweep --out sweeps/galaxies --trials 60
    """  # noqa: E501
    if data is None and out is None:
        raise typer.BadParameter("Missing the table to fit; or give --out to go on with a sweep.")
    out = out or Path("sweeps") / Path(str(data)).absolute().stem
    if data is not None:
        use(asked["precision"])
        from mflows import sweeps

        config = options.config(context.params)
        plan = sweeps.Plan(config, options.searched(search or ()), objective, prune, storage)
    else:
        _only(context, "out", "trials")
        from mflows import sweeps

        plan = sweeps.read_plan(out)
        use(plan.config.precision)
    try:
        found = sweeps.work(out, plan, trials=trials, progress=True)
    except KeyboardInterrupt:
        again = shlex.join(["mflows", "sweep", "--out", str(out), "--trials", str(trials)])
        typer.echo(f"Stopped. Go on with: {again}", err=True)
        raise typer.Exit(130) from None
    from mflows.pages.sweep import write_sweep

    _say(found, write_sweep(found))


def _only(context: typer.Context, *names: str) -> None:
    """Refuse options that a sweep which is there already has settled."""
    for name in options.on_the_command_line(context):
        if name not in names:
            raise typer.BadParameter(
                f"Expected --out and --trials only, to go on with a sweep; got {name!r} too. Give "
                "the table to start another."
            )


def _say(found, page: Path) -> None:
    """Print the best trials and how to fit the best one again."""
    from rich.console import Console
    from rich.table import Table

    from mflows.sweeps.study import state_of

    names = list(found.plan.search)
    if found.finished:
        table = Table(title=f"Best of {len(found.trials)} trials", title_justify="left")
        for column in ("trial", found.plan.objective, *names):
            table.add_column(column, justify="right")
        for trial in found.finished[:_SHOWN]:
            values = (trial.value, *(trial.params[name] for name in names))
            table.add_row(str(trial.number), *map(_cell, values))
        Console().print(table)
    states = Counter(map(state_of, found.trials))
    typer.echo(", ".join(f"{count} {state}" for state, count in states.items()) + f". See {page}.")
    if found.finished:
        best = shlex.quote(str(found.run_folder(found.best)))
        fit = shlex.join(fit_command(found.best_config))
        typer.echo(f"\nThe best run is in {best}. Next:\n  mflows report {best}\n  {fit}")
    else:
        typer.echo("No trial has finished: search smaller learning rates, or look at the data.")
        sys.exit(1)


def fit_command(config) -> list[str]:
    """The command that fits a flow by a config, without the folder to write."""
    from mflows import runs

    usual = runs.Config(config.data, model=config.model, settings=config.settings).as_dict()
    command = ["mflows", "fit", config.data]
    if config.model != "m-flow":
        command += ["--model", config.model]
    for name, value in config.as_dict().items():
        if name in ("data", "model", "settings", "recipe_settings") or value == usual[name]:
            continue
        option = f"--{name.replace('_', '-')}"
        if name == "stream":
            command += ["--stream" if value else "--in-memory"]
        elif value is True:
            command += [option]
        else:
            command += [option, ",".join(value) if isinstance(value, list) else str(value)]
    for option, values in (("--set", config.settings), ("--recipe-set", config.recipe_settings)):
        if values:
            command += [option, ",".join(f"{name}={value}" for name, value in values.items())]
    return command


def _cell(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
