"""Compiled programs and precision: set up by the command line, and only by it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from tests import tiny
from tests.processes import mflows

from mflows.cli import jax_setup
from mflows.cli.jax_setup import compile_quickly, keep_compiled
from mflows.data import load

DRAWN = ("-m", "mflows", "data", "polynomial-surface", "--events", "3")
IMPORTED = ("-c", "import jax, mflows; assert jax.config.jax_compilation_cache_dir is None")


def python(arguments: tuple[str, ...], folder: Path, **more: str) -> None:
    """Python with these arguments, at home in ``folder``."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
    environment = mine | {"HOME": str(folder)} | more
    subprocess.run([sys.executable, *arguments], env=environment, check=True, cwd=folder)


def test_commands_keep_their_programs_in_the_cache_folder(tmp_path):
    python((*DRAWN, "--out", "drawn.npz"), tmp_path, XDG_CACHE_HOME=str(tmp_path / "caches"))
    assert list((tmp_path / "caches" / "mflows" / "xla").iterdir())


def test_importing_the_library_keeps_none(tmp_path):
    python(IMPORTED, tmp_path)


@pytest.mark.parametrize("given", ["elsewhere", ""])
def test_the_folder_of_jax_comes_first(monkeypatch, given):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", given)
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    keep_compiled()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == given
    assert "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ


def test_without_a_folder_of_its_own_the_cache_is_at_home(monkeypatch):
    for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # so that it is restored, whether or not it was there
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "2")
    keep_compiled()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "/home/someone/.cache/mflows/xla"
    assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "2"


@pytest.mark.parametrize(("jaxlib", "flags"), [("0.10.2", 2), ("0.12.0", 1)])
def test_short_versions_compile_quickly_with_flags_that_xla_knows(monkeypatch, jaxlib, flags):
    monkeypatch.setenv("XLA_FLAGS", "--given=1")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "")
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS")
    monkeypatch.setattr(jax_setup, "version", lambda package: jaxlib)
    compile_quickly()
    assert os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    assert os.environ["XLA_FLAGS"].split()[0] == "--given=1"
    assert len(os.environ["XLA_FLAGS"].split()) == flags


def run_alone(*arguments: object) -> None:
    """A command where JAX computes in single precision by default."""
    process = mflows(*arguments, config={"jax_enable_x64": False})
    said = process.communicate()
    assert process.returncode == 0, said


def test_a_run_keeps_the_precision_it_was_asked_for(table, tmp_path):
    out, scores = tmp_path / "run", tmp_path / "scores.npz"
    options = (*tiny.AMBIENT, "--epochs", "2", "--precision", "float64")
    run_alone("fit", table, *options, "--out", out)
    assert json.loads((out / "config.json").read_text())["precision"] == "float64"
    tensors = safetensors.numpy.load_file(out / "flow.safetensors")
    assert {array.dtype for array in tensors.values() if array.dtype.kind == "f"} == {
        np.dtype("float64")
    }
    run_alone("score", out, table, "--out", scores)
    values = np.asarray(load(scores).x)
    assert not np.array_equal(values, values.astype(np.float32))
    run_alone("fit", "--resume", "--out", out)


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
