"""Absurd values of every option: status 2, one line, and nothing is written.

The options are those that the commands have, so that new ones are tried too. Some values are tried
here, drawn at random; ``make fuzz`` tries all of them.
"""

import os
from typing import get_type_hints

import numpy as np
import pytest
from tests import tiny
from typer.main import get_command

from mflows.cli import app
from mflows.systems import SYSTEMS

SEVERAL = int(os.environ.get("MFLOWS_FUZZ", "40"))
HUGE = "1" + "0" * 30
NUMBERS = ("-1", "nan", "-inf", "1e400", "0x10", "abc", "", "[]", "None", "1,2", "\x00", "½")
TEXTS = ("\x00", "[]", '{"a": 1}', "=", "=1", "a=", "a=1=2", "a=1,a=1", "[" * 999, "nan=nan")
PLACES = ("/dev/null/x.csv", "x\x00.csv", "x" * 300 + ".csv", "/proc/x.csv", "a" * 5000)
STORAGES = (
    "foo://",
    "://",
    "mysql://u:p@h/x",
    "sqlite:////none/x.db",
    "redis://localhost:1",
    "\x00",
)
SEARCHES = (
    *("learning_rate=1e-3..inf", "learning_rate=nan..1", "learning_rate=1..1e-3", "epochs=0..0"),
    *("learning_rate=0..1:log", "epochs=a|b", "epochs=1.5..2", "set.nope=1|2", "recipe=a|b"),
    *("set.width=|", "set.width=1||2", "=1|2", f"set.width=1..{HUGE}", "latent_dim=1..50"),
)


def values(name: str, kind: str) -> tuple[str, ...]:
    """Values that a parameter cannot have."""
    if name in ("storage", "search"):
        return STORAGES if name == "storage" else SEARCHES
    if "Path" in kind:
        return PLACES
    if "int" in kind:
        return (*NUMBERS, HUGE)
    return NUMBERS if "float" in kind else TEXTS


def whole(table, run) -> dict[str, list]:
    """A command that works, of each."""
    search = ("--search", "epochs=1|2")
    return {
        "fit": [table, *tiny.options()],
        "sweep": [table, *tiny.options(), *search, "--trials", 1],
        "score": [run, table],
        "project": [run, table],
        "sample": [run],
        "report": [run],
        "experiment": ["circle", "--quick"],
        "simulate": ["circle"],
        "tables": [run.parent],
        "pictures": ["digits"],
    }


def of_options(table, run) -> list[list]:
    """Every option of every command with every absurd value."""
    found = []
    commands = get_command(app).commands
    for name, arguments in whole(table, run).items():
        hints = get_type_hints(commands[name].callback)
        options = [p for p in commands[name].params if p.opts[0].startswith("-")]
        for option in options:
            kind = str(hints.get(option.name))
            if "bool" not in kind and option.name != "help":
                found += [
                    [name, *arguments, option.opts[0], value] for value in values(option.name, kind)
                ]
    return found


def of_settings(table) -> list[list]:
    """Every setting of every model with every number that makes no sense."""
    found = []
    for row in SYSTEMS.values():
        dim = ["-d", 1] if row.takes_latent_dim else []
        given = "manifold=sphere," if row.name == "fom" else ""
        for name, setting in row.settings.items():
            numbers = [v for v in NUMBERS if v and "," not in v]
            numbers += [HUGE] if "int" in str(setting.annotation) else []
            found += [
                ["fit", table, *dim, "--model", row.name, "--set", f"{given}{name}={value}"]
                for value in numbers
            ]
    return found


def check(command, cases, tmp_path) -> None:
    """Every one is refused in one line, and leaves nothing behind."""
    wrong = []
    for i in np.random.default_rng(0).permutation(len(cases))[: 3 * SEVERAL]:
        arguments = cases[i]
        if arguments[0] != "report" and "--out" not in arguments:
            arguments = [*arguments, "--out", tmp_path / "new"]
        result = command(*arguments)
        refused = result.exit_code == 2 and type(result.exception) is SystemExit
        lines = result.stderr.splitlines()
        if not (refused and lines and lines[-1].startswith("Error: ")):
            wrong.append(f"{arguments}: {result.exit_code} {result.exception!r} {lines[-1:]}")
        if left := list(tmp_path.iterdir()):
            wrong.append(f"{arguments} left {left}")
            break
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["fit", "sweep", "score", "project", "sample", "simulate"])
def test_without_an_absurd_value_they_work(command, table, run, tmp_path, name):
    """Or all of the others would be refused for another reason."""
    out = tmp_path / ("new.csv" if name not in ("fit", "sweep") else "new")
    result = command(name, *whole(table, run)[name], "--out", out)
    assert result.exit_code == 0, result.output


def test_options(command, table, run, tmp_path):
    check(command, of_options(table, run), tmp_path)


def test_settings(command, table, tmp_path):
    check(command, of_settings(table), tmp_path)
