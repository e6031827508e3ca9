"""Runs that are stopped at any moment: nothing is lost, mixed or refused by every way to go on."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import jax.random as jr
import numpy as np
import pytest
from tests import tiny
from tests.processes import DOUBLE, mflows

import mflows as mf
from mflows import runs
from mflows.data import save_table
from mflows.runs import training
from mflows.saving import LoadError, arrays


class Crash(BaseException):
    """The process is gone: no handler of ours sees it."""


class Disk:
    """Counts what is done to files, and fails for good from one moment on."""

    def __init__(self, monkeypatch, last: int):
        self.done, self.last = 0, last
        for owner, name in ((Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, function):
        def counted(*args, **kwargs):
            if self.done >= self.last:
                raise Crash
            self.done += 1
            return function(*args, **kwargs)

        return counted


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny.write_table(tmp_path_factory.mktemp("data") / "curve.csv")


def config(table, **changes):
    return tiny.config(table, epochs=4, **changes)


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    return runs.train(tmp_path_factory.mktemp("runs") / "whole", config(table))


def tensors(folder: Path) -> bytes:
    return (folder / "flow.safetensors").read_bytes()


def crashed(folder: Path, asked, last: int, **how) -> bool:
    """Train until the disk fails; whether it did."""
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, last)
        try:
            runs.train(folder, asked, **how)
        except Crash:
            return True
    return False


def test_a_fresh_run_may_stop_at_any_moment(table, whole, tmp_path):
    for last in range(100):
        folder = tmp_path / str(last)
        stopped = crashed(folder, config(table), last)
        resumed = runs.train(folder, config(table), resume=True)
        assert tensors(folder) == tensors(whole.folder)
        assert not list(folder.rglob(".*.tmp"))
        assert resumed.provenance["status"] == "finished"
        if not stopped:
            assert last > 5
            return
    raise AssertionError("it never ended")


def test_a_run_that_replaces_another_may_stop_at_any_moment(table, whole, tmp_path):
    other = config(table, seed=1)
    for last in range(100):
        folder = Path(shutil.copytree(whole.folder, tmp_path / str(last)))
        (folder / "report.html").write_text("old")
        stopped = crashed(folder, other, last, overwrite=True)
        if stopped:
            copy = Path(shutil.copytree(folder, tmp_path / f"{last} resumed"))
            stored, _ = runs.read_config(copy)  # there is always one whole run
            assert stored.seed in (0, 1)
            done = runs.train(copy, stored, resume=True)
            if stored.seed == 0:
                assert tensors(copy) == tensors(whole.folder)
            assert done.config.seed == stored.seed
        again = runs.train(folder, other, overwrite=True)
        assert again.config.seed == 1
        assert not (folder / "report.html").exists()
        if not stopped:
            assert last > 10
            return
    raise AssertionError("it never ended")


def test_a_resumed_run_may_stop_at_any_moment(table, whole, tmp_path):
    start = tmp_path / "start"
    assert crashed(start, config(table), 5)
    for last in range(100):
        folder = Path(shutil.copytree(start, tmp_path / str(last)))
        stopped = crashed(folder, config(table), last, resume=True)
        runs.train(folder, config(table), resume=True)
        assert tensors(folder) == tensors(whole.folder)
        if not stopped:
            return
    raise AssertionError("it never ended")


def test_saving_over_a_flow_leaves_the_old_one_or_the_new_one(tmp_path):
    sizes = {"chart_layers": 1, "latent_layers": 1, "width": 4, "bins": 3}
    old, new = (mf.models.m_flow(jr.key(seed), (2,), 1, **sizes) for seed in (0, 1))
    for last in range(10):
        folder = tmp_path / str(last)
        mf.save(folder, old)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, last)
            try:
                mf.save(folder, new)
                stopped = False
            except Crash:
                stopped = True
        found = arrays(mf.load(folder))
        same = [all(np.array_equal(found[k], v) for k, v in arrays(f).items()) for f in (old, new)]
        assert any(same)
        if not stopped:
            assert same[1]
            assert sorted(p.name for p in folder.iterdir()) == ["flow.json", "flow.safetensors"]
            return
    raise AssertionError("it never ended")


def test_two_processes_do_not_train_in_one_folder(table, tmp_path):
    with (
        training._locked(tmp_path / "run"),
        pytest.raises(ValueError, match="Another process is training in"),
    ):
        runs.train(tmp_path / "run", config(table))
    assert runs.train(tmp_path / "run", config(table)).provenance["status"] == "finished"


def test_damage_beside_the_flow_is_told_and_the_flow_is_read(whole, tmp_path):
    folder = Path(shutil.copytree(whole.folder, tmp_path / "run"))
    lines = (folder / "history.jsonl").read_text().splitlines()
    lines[1] = lines[1][:10]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "provenance.json").write_text("")
    with (
        pytest.warns(UserWarning, match=r"damaged in line 2"),
        pytest.warns(UserWarning, match="Where the run comes from is not known"),
    ):
        opened = runs.open_run(folder)
    assert eqx.tree_equal(opened.flow, whole.flow)
    assert len(opened.history) == len(whole.history) - 1
    assert opened.provenance["status"] == "unknown"


def test_an_edited_config_is_refused(whole, tmp_path):
    for old, new in (('"seed": 0', '"seed": 3'), ('"epochs"', '"epoch"'), ("m-flow", "me-flow")):
        folder = Path(shutil.copytree(whole.folder, tmp_path / new.strip('"').replace(" ", "")))
        text = (folder / "config.json").read_text()
        assert old in text
        (folder / "config.json").write_text(text.replace(old, new))
        for read in (runs.open_run, lambda f: runs.train(f, whole.config, resume=True)):
            with pytest.raises(LoadError, match="was edited after it was written"):
                read(folder)


def test_a_misspelt_or_mistyped_setting_is_refused(table):
    values = config(table).as_dict()
    with pytest.raises(ValueError, match=r"got 'epochz'. Did you mean 'epochs'\?"):
        runs.Config.from_dict({**values, "epochz": 3})
    for name, value in (("epochs", "3"), ("seed", True), ("drop_constant", 1), ("settings", [1])):
        with pytest.raises(ValueError, match=f"Expected {name} to be of type"):
            runs.Config.from_dict({**values, name: value})
    with pytest.raises(ValueError, match="Expected a finite learning_rate"):
        config(table, learning_rate=float("inf"))
    with pytest.raises(ValueError, match="seed < 2"):
        config(table, seed=1 << 63)


def test_a_checkpoint_of_which_a_byte_changed_is_refused(table, tmp_path):
    folder = tmp_path / "run"
    assert crashed(folder, config(table), 5)
    path = folder / "checkpoints" / "latest.safetensors"
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=60):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(LoadError):
            runs.train(folder, config(table), resume=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_fit_with_a_word_and_a_status(table, tmp_path, number, status):
    arguments = ["fit", str(table), "--out", str(tmp_path / "run"), *tiny.options()]
    arguments[arguments.index("--epochs") + 1] = "100000"
    process = mflows(*arguments, config=DOUBLE)
    history = tmp_path / "run" / "history.jsonl"
    while not history.is_file() or not history.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == status
    assert "Stopped. Go on to the same numbers with: mflows fit --resume" in said
    assert "Traceback" not in said
    assert runs.run.read_provenance(tmp_path / "run")["status"] == "interrupted"


SWALLOWED = """
import os, signal
from mflows import signals
class Collected:
    def __del__(self):
        os.kill(os.getpid(), {number})
signals.listen()
Collected()
try:
    signals.check()
except signals.Stopped as stopped:
    print(stopped)
"""


def test_a_signal_that_a_destructor_swallows_is_heard_and_not_said_to_be_ignored():
    script = SWALLOWED.format(number=int(signal.SIGINT))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "Stopped by SIGINT."
    assert done.stderr == ""


@pytest.mark.parametrize("module", ["typer", "mflows.cli"])
def test_a_signal_while_the_program_is_imported(module):
    command = [sys.executable, "-X", "importtime", "-m", "mflows", "--help"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(line.split("|")[-1].strip() == module for line in lines)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert "Traceback" not in said
    assert (process.returncode, "Error: Stopped." in said) in [(130, True), (0, False)]


def test_a_link_stays_a_link_and_a_file_keeps_its_permissions(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    save_table(real, {"a": [1.0, 2.0]})
    real.chmod(0o600)
    link.symlink_to(real)
    save_table(link, {"a": [3.0, 4.0]})
    assert link.is_symlink()
    assert real.read_text().split() == ["a", "3.0", "4.0"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    save_table(tmp_path / "new.csv", {"a": [1.0, 2.0]})
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new.csv").stat().st_mode) == 0o666 & ~mask
