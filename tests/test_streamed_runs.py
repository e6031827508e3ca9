"""Runs whose data stay in their file: the same commands, the same folder."""

import importlib
import json

import numpy as np
import pytest
from tests import tiny

from mflows import runs
from mflows.data import DataError
from mflows.pages.report import content as content_of
from mflows.training import rows

config_module = importlib.import_module("mflows.runs.config")
ROWS = 600


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "NUMBERS", 600)  # three blocks
    return tiny.write_table(tmp_path / "curve.npy", rows=ROWS)


def test_a_streamed_run(table, tmp_path):
    config = tiny.config(table, stream=True, epochs=6, batch_size=20)
    run = runs.train(tmp_path / "run", config)
    assert run.config.stream is True
    kept, held_out = run.split()
    assert kept.mapped
    assert (len(kept), len(held_out)) == (540, 60)
    assert np.isfinite(run.score(held_out).log_prob).all()

    content = content_of(runs.open_run(tmp_path / "run"))
    assert content.train is not None
    assert len(content.train.x) == 540
    again = runs.train(tmp_path / "run", config, resume=True)
    assert again.history == run.history


def test_large_files_are_streamed_unless_asked_otherwise(table, tmp_path, monkeypatch):
    assert not tiny.config(table).streamed
    monkeypatch.setattr(config_module, "LARGE", 1000)
    assert tiny.config(table).streamed
    assert not tiny.config(table, stream=False).streamed
    assert not tiny.config(tiny.write_table(tmp_path / "curve.csv", rows=ROWS)).streamed


def test_fit_from_the_command_line(table, tmp_path):
    from tests.cli.conftest import mflows

    out = tmp_path / "run"
    result = mflows("fit", table, "--stream", "--out", out, *tiny.options("--epochs", "4"))
    assert result.exit_code == 0, result.output
    assert "600 rows" in result.stdout
    assert json.loads((out / "config.json").read_text())["stream"] is True
    assert mflows("report", out).exit_code == 0


def test_formats_that_have_to_be_in_memory_say_so(tmp_path):
    table = tiny.write_table(tmp_path / "curve.csv")
    with pytest.raises(DataError, match="can be read in pieces"):
        runs.train(tmp_path / "run", tiny.config(table, stream=True))
    assert not (tmp_path / "run").exists()
