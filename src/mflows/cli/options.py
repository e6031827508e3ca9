"""Options and arguments that several commands share, and how their values are read."""

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mflows.systems import SYSTEMS, System, system

RunFolder = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run folder that mflows fit wrote.", show_default=False),
]
Table = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Table: .npy .npz .csv .parquet or .h5, or a folder of pictures.",
        show_default=False,
    ),
]
MovedData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The table the run was trained on, if it was moved since.",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Option(help="File to write: .npy .npz .csv .parquet or .h5.", show_default=False),
]


def _each(heading: str, words: Callable[[System], str]) -> str:
    """A help text with a line for every system."""
    return "\n\n".join([heading, *(f"- {row.name}: {words(row)}" for row in SYSTEMS.values())])


OWN_OPTIONS = ("tails", "network")
"""Settings of a model that have options of their own, beside ``--set``."""

LatentDim = Annotated[
    int | None,
    typer.Option("--latent-dim", "-d", help="Dimension n of the manifold.", show_default=False),
]


def _asked(
    *,
    model: Annotated[
        str, typer.Option(help=_each("The system:", lambda row: row.summary))
    ] = "m-flow",
    recipe: Annotated[
        str | None,
        typer.Option(
            help=_each("How to train, the default first:", lambda row: ", ".join(row.recipes)),
            show_default=False,
        ),
    ] = None,
    condition: Annotated[
        str, typer.Option(metavar="A,B", help="Columns that are the condition theta, not x.")
    ] = "",
    weight: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column or array of weights: how much each row counts.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the data, shared by the phases. [default: 50, more for small data, "
            "fewer for large]"
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Points per step. [default: 100; with optimal transport 1000]"),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(help="Learning rate; each phase of the recipe scales it.")
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
    network: Annotated[
        Literal["dense", "convolutional", "transformer"] | None,
        typer.Option(
            metavar="NAME",
            help="Networks of the model: dense, of any points; of pictures also convolutional, or "
            "transformer, of patches. [default: dense]",
            show_default=False,
        ),
    ] = None,
    tails: Annotated[
        bool,
        typer.Option("--tails", help="Give columns the heavy tails that their data have."),
    ] = False,
    drop_constant: Annotated[
        bool, typer.Option("--drop-constant", help="Leave out columns with one value only.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=(1 << 63) - 1, help="Seed of everything random.")
    ] = 0,
    precision: Annotated[
        str | None,
        typer.Option(help="float32 or float64. [default: JAX's own, float32]"),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--in-memory",
            help="Leave the data in their file and read them block by block, or load them whole. "
            "[default: .npy, .h5 and .parquet files from 1 GiB on are streamed]",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Height and width of the pictures of a folder, which are cropped in the middle "
            "and resized. [default: their own if all have one of at most 64, else 32]",
            show_default=False,
        ),
    ] = None,
    dequantise: Annotated[
        bool,
        typer.Option(
            "--dequantise", help="Spread the 8-bit levels of pictures uniformly: x = (k + U) / 256."
        ),
    ] = False,
    flips: Annotated[
        bool, typer.Option("--flips", help="Train on the mirror images of pictures, too.")
    ] = False,
) -> None:
    """What a run is asked to do, by the names of the fields of its config."""


def asks_for_a_run(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `_asked` for its ``**asked``, before its keyword-only ones."""
    *own, _ = inspect.signature(command).parameters.values()
    options = inspect.signature(_asked).parameters.values()
    parameters = sorted([*options, *own], key=lambda parameter: parameter.kind)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ |= _asked.__annotations__
    return command


def config(given: Mapping[str, Any]):
    """The config of a run that the parameters of a command ask for."""
    chosen = system(given["model"])  # a wrong name is noticed before JAX is imported
    from mflows import runs

    if given["network"] and "network" not in chosen.settings:
        able = (name for name, row in SYSTEMS.items() if "network" in row.settings)
        raise ValueError(
            f"Expected --network with a model out of {', '.join(able)}; got {chosen.name!r}, which "
            "has one kind of network. Leave the option out."
        )
    asked = {name: given[name] for name in OWN_OPTIONS if given[name]}
    settings = {**_literals(given["settings"], "--set"), **asked}
    read: dict[str, Any] = {
        "data": str(given["data"]),
        "condition": names(given["condition"]),
        "settings": settings,
        "recipe_settings": _literals(given["recipe_settings"], "--recipe-set"),
    }
    known = {each.name for each in fields(runs.Config)}
    return runs.Config(
        **{name: value for name, value in {**given, **read}.items() if name in known}
    )


def on_the_command_line(context: typer.Context) -> list[str]:
    """Names of the parameters that were given to a command."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def _literals(given: str, option: str) -> dict[str, Any]:
    return {name: _value(value) for name, value in pairs(given, option).items()}


def _value(text: str) -> Any:
    """Read ``[a,b]`` as a list, anything else as `literal` does."""
    if text[0] + text[-1] == "[]":
        return [literal(part.strip()) for part in text[1:-1].split(",")]
    return literal(text)


def check_memory(points: int, dim: int) -> None:
    """Raise ``ValueError`` for more points of so many numbers than memory holds, thrice over."""
    if not hasattr(os, "sysconf"):
        return
    memory, wanted = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 24 * points * dim
    if wanted > memory:
        raise ValueError(
            f"Expected points that fit into memory, {memory / 2**30:.3g} GiB; {points:,} points of "
            f"{dim} numbers need {wanted / 2**30:.3g} GiB. Draw fewer at a time."
        )


def names(text: str) -> tuple[str, ...]:
    """Read ``a,b`` as names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def pairs(text: str, option: str) -> dict[str, str]:
    """Read ``a=1,b=[2,3]`` as names and values."""
    found: dict[str, str] = {}
    for part in filter(str.strip, re.split(r",(?![^[]*\])", text)):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ValueError(f"Expected {option} as name=value,name=value; got {text!r}.")
        if name in found:
            raise ValueError(f"Expected every name in {option} once; got {name!r} twice.")
        found[name] = value
    return found


def literal(text: str) -> Any:
    """Read a whole number, a number, ``true`` or ``false``; anything else stays text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def searched(given: Sequence[str]) -> dict:
    """Read ``NAME=a..b``, ``NAME=a..b:log`` or ``NAME=a|b|c``: names and where to search them."""
    from mflows.sweeps import Choice

    found: dict = {}
    for text in given:
        name, equals, space = (piece.strip() for piece in text.partition("="))
        name = name.replace("-", "_") if "." not in name else name  # learning-rate, as in options
        if not (name and equals and space):
            raise ValueError(f"Expected --search as NAME=a..b or NAME=a|b|c; got {text!r}.")
        if name in found:
            raise ValueError(f"Expected every name in --search once; got {name!r} twice.")
        if "|" in space:
            found[name] = Choice(tuple(literal(value.strip()) for value in space.split("|")))
        else:
            found[name] = _range(text, space)
    return found


def _range(text: str, space: str):
    from mflows.sweeps import Range

    ends, colon, scale = space.partition(":")
    low, dots, high = (literal(end.strip()) for end in ends.partition(".."))
    numbers = type(low) in (int, float) and type(high) in (int, float)
    if not (dots and numbers) or (colon and scale.strip() != "log"):
        raise ValueError(
            f"Expected --search as NAME=a..b, NAME=a..b:log or NAME=a|b|c; got {text!r}."
        )
    return Range(low, high, log=bool(colon))
