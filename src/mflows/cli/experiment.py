"""``mflows experiment``: run an experiment of the field by name."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mflows.cli.jax_setup import compile_quickly
from mflows.cli.options import names
from mflows.experiments import names as known


def experiment(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help=f"One of {', '.join(known())}.", show_default=False),
    ],
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Models to train, as in m-flow,pie+conditional_chart,m-flow:alternating: a name, "
            "settings (pae+width=32), a recipe. [default: the experiment's own]",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="AXIS=A,B",
            help="Values of an axis of the table, as in joints=2,4 or pictures=FOLDER; again for "
            "another axis. [default: the experiment's own]",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(max=10_000, help="Number of seeds, 0, 1, ...")] = 1,
    jobs: Annotated[
        int, typer.Option(max=10_000, help="Trainings side by side, one core each.")
    ] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few points and epochs: does it run at all?")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            help="Minutes of training of each row, of particle physics and images. "
            "[default: the experiment's own]",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. [default: runs/ and NAME]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train again what has been trained before.")
    ] = False,
) -> None:
    """Run an experiment of the field: print its table and write its runs and reports.

    **Examples**

        mflows experiment polynomial-surface --quick

        mflows experiment polynomial-surface --models m-flow,af --seeds 5 --out runs/surface

        mflows experiment particle-physics --seeds 3 --jobs 2 --budget 30

        mflows experiment image-folder --only pictures=photographs/ --only n=2,8
    """
    for option, value in (("--seeds", seeds), ("--jobs", jobs)):
        if value < 1:
            raise typer.BadParameter(f"Expected {option} >= 1; got {value}.")
    given: dict[str, Any] = {}
    if models is not None:
        given["models"] = names(models)
        if not given["models"]:
            raise typer.BadParameter("Expected at least one model in --models.")
    for each in only or ():
        axis, equals, values = each.partition("=")
        if not equals or not names(values):
            raise typer.BadParameter(f"Expected --only AXIS=A,B, as in joints=2,4; got {each!r}.")
        given.setdefault("only", {})[axis.strip()] = names(values)
    if quick:
        compile_quickly()
    from mflows import experiments

    experiments.named(name)(
        out or Path("runs") / name,
        **given,
        seeds=seeds,
        quick=quick,
        jobs=jobs,
        overwrite=overwrite,
        budget=budget,
    )
