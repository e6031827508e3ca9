"""Bad input: status 2, one line on standard error, nothing written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests import tiny

from mflows.cli.options import literal, names, pairs

FIT = {
    "missing file": ("{here}/gone.csv", "-d", "1", "does not exist"),
    "unknown suffix": ("{here}/table.xls", "-d", "1", "ends in .npy"),
    "text": ("{here}/text.csv", "-d", "1", "text"),
    "nan": ("{here}/nan.csv", "-d", "1", "NaN"),
    "constant": ("{here}/constant.csv", "-d", "1", "--drop-constant"),
    "no latent dim": ("{table}", "--latent-dim"),
    "latent dim too large": ("{table}", "-d", "3", "1 <= latent_dim <= 2"),
    "latent dim no number": ("{table}", "-d", "two", "latent-dim"),
    "model": ("{table}", "-d", "1", "--model", "van", "a model out of m-flow, me-flow"),
    "recipe": ("{table}", "-d", "1", "--recipe", "magic", "manifold-then-density"),
    "condition": (
        "{table}",
        "-d",
        "1",
        "--condition",
        "theta",
        "expected condition column 'theta'",
    ),
    "setting": ("{table}", "-d", "1", "--set", "depth=2", "chart_layers"),
    "settings": ("{table}", "-d", "1", "--set", "width", "name=value"),
    "epochs": ("{table}", "-d", "1", "--epochs", "0", "epochs >= 1"),
    "both": ("{table}", "-d", "1", "--resume", "--overwrite", "got both"),
    "not a run": ("{table}", "-d", "1", "--out", "{here}", "no run folder"),
    "option": ("{table}", "--latentdim", "1", "--latent-dim"),
    "no table": ("Missing the table",),
    "nothing to resume": ("--resume", "--out", "{here}/run", "no run in"),
}


def check(result, message: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize("case", FIT)
def test_fit(command, table, tmp_path, case):
    (tmp_path / "text.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "nan.csv").write_text("a,b\n1,2\nnan,3\n")
    (tmp_path / "constant.csv").write_text("a,b,c\n1,2,3\n2,2,4\n3,2,6\n")
    before = sorted(tmp_path.rglob("*"))
    *arguments, message = FIT[case]
    arguments = [a.format(here=tmp_path, table=table) for a in arguments]
    if "--out" not in arguments and case != "no table":
        arguments += ["--out", str(tmp_path / "new" / "run")]
    check(command("fit", *arguments), message)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_is_not_overwritten(command, table, run):
    check(command("fit", table, "--out", run, *tiny.options()), "--overwrite")


@pytest.mark.parametrize("name", ["score", "project"])
def test_a_table_that_does_not_fit_the_run(command, run, tmp_path, name):
    np.save(tmp_path / "wide.npy", np.zeros((5, 4)))
    out = tmp_path / "out.csv"
    check(command(name, run, tmp_path / "wide.npy", "--out", out), "expected 3 columns")
    check(command(name, run, tmp_path / "gone.npy", "--out", out), "does not exist")
    check(command(name, tmp_path, tmp_path / "wide.npy", "--out", out), "no config.json")
    check(command(name, run, tmp_path / "wide.npy", "--out", tmp_path / "out.xls"), "ends in")
    check(command(name, run, tmp_path / "wide.npy"), "--out")
    assert not out.exists()


def test_sample_without_its_condition(command, run, conditional_run, tmp_path):
    out = ("--out", tmp_path / "out.csv")
    check(command("sample", run, "--condition", "theta=1", *out), "is not conditional")
    check(command("sample", run, "-n", "0", *out), "-n >= 1")
    given = ("sample", conditional_run, *out)
    check(command(*given), "--condition theta=0")
    check(command(*given, "--condition", "mass=1"), "Expected values of theta")
    check(command(*given, "--condition", "theta=high"), "Expected numbers")
    check(command(*given, "--condition", "theta=inf"), "finite")
    check(command(*given, "--condition", "theta=1", "--condition-from", "x.csv"), "got both")
    assert not (tmp_path / "out.csv").exists()


def test_scoring_without_the_condition(command, conditional_run, table, tmp_path):
    result = command("score", conditional_run, table, "--out", tmp_path / "out.csv")
    check(result, "condition column 'theta'")


def test_report_of_changed_data(command, run, conditional_table):
    check(command("report", run, "--data", conditional_table), "content has changed")


def test_unknown_names(command, tmp_path):
    check(command("data", "torus", "--out", tmp_path / "x.npz"), "polynomial-surface")
    check(command("experiment", "torus"), "polynomial-surface")
    check(command("experiment", "polynomial-surface", "--models", "van"), "m-flow, me-flow")
    check(command("experiment", "polynomial-surface", "--seeds", "0"), "--seeds >= 1")
    check(command("scores"), "Did you mean 'score'")


def test_the_program_in_a_process_of_its_own(tmp_path):
    arguments = [sys.executable, "-m", "mflows", "score", str(tmp_path), "x.csv"]
    done = subprocess.run(
        [*arguments, "--out", str(tmp_path / "y.csv")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: Expected a run folder")
    assert done.stderr.count("\n") == 1


def test_no_home_an_encoding_of_ascii_and_a_name_that_is_not_utf_8(run, table, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv"))
    shutil.copy(table, odd)
    environment = {k: v for k, v in os.environ.items() if k != "HOME"}
    done = subprocess.run(
        [sys.executable, "-m", "mflows", "score", str(run), str(odd), "--out", "sc\u00f6res.csv"],
        capture_output=True,
        cwd=tmp_path,
        env={**environment, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Wrote 60 rows to sc\\xf6res.csv")
    assert (tmp_path / "sc\u00f6res.csv").is_file()


WARNS = """
import typer, warnings
from mflows.cli.errors import OneLineErrors

app = typer.Typer(cls=OneLineErrors)
app.callback()(lambda: None)
app.command("warn")(lambda: warnings.warn("it may be\\ntorn"))
app()
"""


def test_a_warning_is_one_line():
    done = subprocess.run(
        [sys.executable, "-c", WARNS, "warn"], capture_output=True, text=True, check=True
    )
    assert done.stderr == "Warning: it may be torn\n"


def test_values_of_options():
    assert names(" a, b,") == ("a", "b")
    assert pairs("a=1,b = x", "--set") == {"a": "1", "b": "x"}
    assert [literal(text) for text in ("3", "0.5", "True", "x")] == [3, 0.5, True, "x"]
    with pytest.raises(ValueError, match="'a' twice"):
        pairs("a=1,a=2", "--set")
