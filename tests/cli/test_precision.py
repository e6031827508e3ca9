"""``mflows fit --precision``, in processes whose JAX computes in single precision by default."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from tests import tiny

from mflows.data import load

pytestmark = pytest.mark.xdist_group("cli")


def mflows(*arguments: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"JAX_ENABLE_X64": "0"}
    command = [sys.executable, "-m", "mflows.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_run_keeps_the_precision_it_was_asked_for(table, tmp_path):
    out, scores = tmp_path / "run", tmp_path / "scores.npz"
    done = mflows("fit", table, *tiny.options("--precision", "float64", "--out", str(out)))
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "config.json").read_text())["precision"] == "float64"
    tensors = safetensors.numpy.load_file(out / "flow.safetensors")
    assert {array.dtype for array in tensors.values() if array.dtype.kind == "f"} == {
        np.dtype("float64")
    }
    done = mflows("score", out, table, "--out", scores)
    assert done.returncode == 0, done.stderr
    values = np.asarray(load(scores).x)
    assert not np.array_equal(values, values.astype(np.float32))
    assert mflows("fit", "--resume", "--out", out).returncode == 0


def test_other_precisions_are_refused(command, table, tmp_path):
    result = command("fit", table, *tiny.options("--precision", "half", "--out", str(tmp_path)))
    assert result.exit_code == 2
    assert "Expected precision out of float32, float64; got 'half'" in result.stderr
    result = command("fit", table, *tiny.options("--precision", "float32", "--out", str(tmp_path)))
    assert "Expected JAX to compute in float32; it computes in float64" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("default:The chart is ill-conditioned")
def test_score_warns_of_ill_conditioned_rows(command, run, table, tmp_path, monkeypatch):
    monkeypatch.setattr("mflows.volume.conditioning.DOUBT", 0.0)
    result = command("score", run, table, "--out", tmp_path / "scores.csv")
    assert result.exit_code == 0, result.output
    assert f"The chart is ill-conditioned at {tiny.ROWS} of {tiny.ROWS} rows" in result.stderr
    assert (tmp_path / "scores.csv").is_file()
