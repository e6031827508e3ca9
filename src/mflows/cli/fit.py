"""``mflows fit``: train a flow on a table, or on a folder of pictures."""

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mflows.cli import options
from mflows.cli.distributed import join, together
from mflows.cli.jax_setup import use
from mflows.systems import system


@options.asks_for_a_run
def fit(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Table to fit: .npy .npz .csv .parquet or .h5, or a folder of pictures. Not "
            "needed with --resume.",
            show_default=False,
        ),
    ] = None,
    latent_dim: options.LatentDim = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder to write. [default: runs/ and the name of DATA]"),
    ] = None,
    *,
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed",
            help="Share every batch among all devices, of all processes of a Slurm or Open MPI job "
            "or of those that --coordinator, --processes and --process name.",
        ),
    ] = False,
    coordinator: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Address of process 0.", show_default=False),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="Number of processes.", show_default=False)
    ] = None,
    process: Annotated[
        int | None, typer.Option(help="Number of this process, from 0.", show_default=False)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with an interrupted run, to the same numbers."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")
    ] = False,
    **asked: Any,
) -> None:
    """Train a flow on a table, or on a folder of pictures, and write a run folder.

    **Examples**

        mflows fit galaxies.parquet --latent-dim 2 --out runs/galaxies

        mflows fit surface.npz --latent-dim 2 --condition theta --epochs 50

        mflows fit table.csv --model af

        mflows fit photographs/ --size 32 --dequantise --flips --latent-dim 16

        mflows fit photographs/ --network transformer --latent-dim 16

        mflows fit directions.csv --model fom --set manifold=sphere

        mflows fit sims.npz --model posterior-flow --condition theta --set likelihood=runs/sims

        mflows fit --resume --out runs/galaxies
    """
    if data is None and (out is None or not resume):
        raise typer.BadParameter("Missing the table to fit; or give --resume and --out.")
    out = out or Path("runs") / Path(str(data)).absolute().stem
    if not distributed and (coordinator, processes, process) != (None, None, None):
        raise ValueError("Expected --distributed with --coordinator, --processes and --process.")
    system(asked["model"])
    import jax

    from mflows import runs

    count = join(coordinator, processes, process) if distributed else 1
    use(asked["precision"])
    config = options.config(context.params)
    if resume and (out / "config.json").is_file():
        stored = runs.read_config(out)[0]
        given = set(options.on_the_command_line(context))
        if given & {*options.OWN_OPTIONS}:
            given.add("settings")
        asked_for = given & set(stored.as_dict())
        config = replace(stored, **{name: getattr(config, name) for name in asked_for})
        use(config.precision)
    elif data is None:
        raise ValueError(f"There is no run in {out} to go on with. Give the table to fit.")
    again = shlex.join(_again(context, out, distributed))
    try:
        with together(count, again):
            run = runs.train(
                out,
                config,
                overwrite=overwrite,
                resume=resume,
                progress=sys.stderr.isatty(),
                devices=jax.devices() if distributed else None,
                each_epoch=None if sys.stderr.isatty() else _now_and_then(),
                say=typer.echo,
            )
    except KeyboardInterrupt as error:
        typer.echo(f"Stopped. Go on to the same numbers with: {again}", err=True)
        raise typer.Exit(getattr(error, "status", 130)) from None
    if jax.process_index() == 0:
        _say(run)


def _now_and_then(pause: float = 60.0) -> Callable[[dict], None]:
    """Say how the training goes where no progress is shown, after every minute or later."""
    last = time.monotonic()

    def say(row: dict) -> None:
        nonlocal last
        if time.monotonic() - last >= pause:
            last = time.monotonic()
            losses = f"train {row['train']:.4g}, validation {row['validation']:.4g}"
            typer.echo(f"{row['phase']}: epoch {row['epoch']}, {losses}", err=True)

    return say


def _again(context: typer.Context, out: Path, distributed: bool) -> list[str]:
    """The command that goes on."""
    command = ["mflows", "fit", "--resume", "--out", str(out)]
    if distributed:
        command.append("--distributed")
    for name in ("coordinator", "processes", "process"):
        if (value := context.params[name]) is not None:
            command += [f"--{name}", str(value)]
    return command


def _say(run) -> None:
    """Print how good the fit is and what to do next."""
    from rich.console import Console
    from rich.table import Table

    from mflows.verdict import evidence, some, warnings_of

    kept, held_out = run.split()
    alike = round(kept.effective_size)
    known = {"history": run.history, "notes": run.provenance["notes"], "rows": alike}
    found = evidence(run.flow, some(kept), held_out[:10_000], **known)
    at = found.held_out
    assert at is not None
    table = Table(title=f"{run.config.model} on {Path(run.config.data).name}", title_justify="left")
    table.add_column("held out", justify="left")
    for name in ("mean", "median", "worst"):
        table.add_column(name, justify="right")
    if at.distance is not None:
        _row(table, "reconstruction error", at.distance, max)
    if at.log_prob is not None:
        _row(table, "log_prob (nats)", at.log_prob, min)
    seconds = sum(row["seconds"] for row in run.history)
    console = Console()
    console.print(table)
    rows = f"{run.source.rows:,} rows"
    if kept.weight is not None:
        rows = f"{rows} (by their weights as good as {alike:,})"
    console.print(
        f"{rows}, {len(run.history)} epochs, {seconds:.1f} s of training.",
        highlight=False,
    )
    for note in (note for note in found.notes if note not in kept.notes):  # said before
        console.print(note, highlight=False, style="dim")
    doubts = warnings_of(found)
    if not doubts:
        console.print("Verdict: nothing looks wrong.", highlight=False)
    for doubt in doubts:
        console.print(f"Verdict: {doubt.title}. {doubt.detail}", highlight=False)
    folder = shlex.quote(str(run.folder))
    new = "PICTURES/" if Path(run.config.data).is_dir() else "NEW.csv" if run.names else "NEW.npy"
    samples = "samples.csv" if run.names else "samples.npy"
    typer.echo(
        f"\nThe run is in {run.folder}. Next:\n"
        f"  mflows report {folder}\n"
        f"  mflows score {folder} {new} --out scores.csv\n"
        f"  mflows sample {folder} {_points(run, kept)} --out {samples}"
    )


def _points(run, data) -> str:
    """Options of ``mflows sample``: how many points, of a conditional flow at which condition."""
    import numpy as np

    names = run.condition_names
    if not names:
        return "-n 1000"
    if run.config.system.of == "theta":  # medians of columns are no x that is observed
        return "-n 1000 --condition-from OBSERVED.csv"
    middle = np.median(data.condition[:1000], axis=0)
    given = ",".join(f"{name}={value:.6g}" for name, value in zip(names, middle, strict=True))
    return f"-n 1000 --condition {shlex.quote(given)}"


def _row(table, name: str, values, worst: Callable) -> None:
    import numpy as np

    values = np.asarray(values, dtype=float)
    numbers = (values.mean(), np.median(values), worst(values))
    table.add_row(name, *(f"{number:.4g}" for number in numbers))
