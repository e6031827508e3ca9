from pathlib import Path

import pytest
from tests import tiny
from typer.testing import CliRunner, Result

from mflows.cli import app


def mflows(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def command():
    return mflows


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    return tiny.write_table(tmp_path_factory.mktemp("data") / "curve.csv")


@pytest.fixture(scope="session")
def conditional_table(tmp_path_factory) -> Path:
    return tiny.write_table(tmp_path_factory.mktemp("data") / "given.npz", conditional=True)


@pytest.fixture(scope="session")
def fitted(table, tmp_path_factory):
    """A run folder and what ``mflows fit`` printed."""
    folder = tmp_path_factory.mktemp("runs") / "curve"
    result = mflows("fit", table, "--out", folder, *tiny.options())
    assert result.exit_code == 0, result.output
    return folder, result.stdout


@pytest.fixture(scope="session")
def run(fitted) -> Path:
    return fitted[0]


@pytest.fixture(scope="session")
def conditional_run(conditional_table, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "given"
    result = mflows(
        "fit", conditional_table, "--out", folder, *tiny.options("--condition", "theta")
    )
    assert result.exit_code == 0, result.output
    return folder
