"""Compiled programs are kept by the command line, and only by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mflows.cli.compiled import keep_compiled

DRAWN = ("-m", "mflows.cli", "data", "polynomial-surface", "--events", "3")
IMPORTED = ("-c", "import jax, mflows; assert jax.config.jax_compilation_cache_dir is None")


def run(arguments: tuple[str, ...], folder: Path, **more: str) -> None:
    """Python with these arguments, at home in ``folder``."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
    environment = mine | {"HOME": str(folder)} | more
    subprocess.run([sys.executable, *arguments], env=environment, check=True, cwd=folder)


def test_commands_keep_their_programs_in_the_cache_folder(tmp_path):
    run((*DRAWN, "--out", "drawn.npz"), tmp_path, XDG_CACHE_HOME=str(tmp_path / "caches"))
    assert list((tmp_path / "caches" / "mflows" / "xla").iterdir())


def test_importing_the_library_keeps_none(tmp_path):
    run(IMPORTED, tmp_path)


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
