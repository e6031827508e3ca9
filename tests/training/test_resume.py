"""Interrupted anywhere, a run goes on to the same numbers, bit for bit."""

import importlib
import json

import equinox as eqx
import jax.random as jr
import numpy as np
import pytest
import safetensors.numpy
from tests.training.small import Breaking, Contest, Noisy, line_flow, losses, moving, points

import mflows as mf
from mflows.saving import LoadError
from mflows.training import (
    Alternate,
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Phase,
    rows,
)
from mflows.training.checkpoint import _digest, checkpoint_path

fitting = importlib.import_module("mflows.training.fit")


class Killed(BaseException):
    """The process is gone."""


def recipe() -> list[Phase | Alternate]:
    """Every kind of position: mid-phase, ends of phases and rounds, patience, prepared data."""
    settings = {"batch_size": 10, "learning_rate": 0.05}
    density = Phase(NegativeLogLikelihood(), ("latent",), 1, name="density", **settings)
    return [
        moving(5, name="first", objective=Breaking(1.3, np.nan), learning_rate=0.5),
        Alternate((moving(2, name="chart", objective=Noisy()), density), rounds=2),
        moving(2, name="game", objective=Contest()),
        moving(9, name="patient", patience=2, learning_rate=0.5),
        Phase(LatentNegativeLogLikelihood(), ("latent",), 2, name="latents", **settings),
    ]


def run(folder, resume=False, phases=None, flow=None, seed=0, data=None, each_epoch=None):
    flow = line_flow() if flow is None else flow
    held_out = points(0.9, 15, seed=1)
    return mf.fit(
        jr.key(seed),
        flow,
        points(1.0) if data is None else data,
        recipe() if phases is None else phases,
        validation=held_out,
        folder=folder,
        resume=resume,
        progress=False,
        each_epoch=each_epoch,
    )


@pytest.fixture
def killed(monkeypatch):
    """Run until a number of checkpoints have been written, then vanish."""

    def run_and_kill(folder, checkpoints: int, **settings):
        genuine, written = fitting.write_checkpoint, []

        def write(*arguments):
            genuine(*arguments)
            written.append(arguments)
            if len(written) == checkpoints:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(fitting, "write_checkpoint", write)
            with pytest.raises(Killed):
                run(folder, **settings)

    return run_and_kill


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


def _equal(first, second):
    assert eqx.tree_equal(first.flow, second.flow)
    assert losses(first.history) == losses(second.history)


def test_the_run_has_every_kind_of_position(uninterrupted):
    names = [row["phase"] for row in uninterrupted.history]
    assert {"first", "chart", "density", "game", "patient", "latents"} == set(names)
    assert 3 <= names.count("patient") < 9  # patience ended it


def test_resuming_after_any_epoch_gives_the_same_numbers(uninterrupted, killed, tmp_path):
    for count in range(1, len(uninterrupted.history) + 1):
        folder = tmp_path / str(count)
        killed(folder, count)
        resumed = run(folder, resume=True)
        _equal(resumed, uninterrupted)
        lines = (folder / "history.jsonl").read_text().splitlines()
        assert losses([json.loads(line) for line in lines]) == losses(uninterrupted.history)


def test_resuming_after_any_block_of_a_stream(killed, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "NUMBERS", 100)
    monkeypatch.setattr(fitting, "SAVE_SECONDS", -1.0)
    np.save(tmp_path / "t.npy", points(1.0, 120))
    settings = {"batch_size": 10, "learning_rate": 0.05}
    phases = [
        Alternate((moving(1, objective=Noisy()), moving(1, name="other")), rounds=2),
        Phase(LatentNegativeLogLikelihood(), ("latent",), 1, name="latents", **settings),
    ]
    given = {"phases": phases, "data": mf.data.stream(tmp_path / "t.npy")}
    whole = run(tmp_path / "whole", **given)
    for count in range(1, 15):  # three blocks an epoch, two at the end
        folder = tmp_path / str(count)
        killed(folder, count, **given)
        _equal(run(folder, resume=True, **given), whole)
    with pytest.raises(pytest.fail.Exception):  # there are no more
        killed(tmp_path / "none", 15, **given)


def test_a_run_may_be_interrupted_again_and_again(uninterrupted, killed, tmp_path):
    killed(tmp_path, 2)
    for _ in range(3):
        killed(tmp_path, 2, resume=True)
    _equal(run(tmp_path, resume=True), uninterrupted)


def test_resuming_a_finished_run_changes_nothing(uninterrupted, tmp_path):
    run(tmp_path)
    _equal(run(tmp_path, resume=True), uninterrupted)


def test_resuming_without_a_checkpoint_starts(uninterrupted, tmp_path):
    _equal(run(tmp_path / "new", resume=True), uninterrupted)


def test_without_resume_an_old_checkpoint_is_ignored(uninterrupted, killed, tmp_path):
    killed(tmp_path, 5)
    _equal(run(tmp_path), uninterrupted)


def test_a_folder_does_not_change_the_numbers(uninterrupted):
    _equal(run(None), uninterrupted)


def test_nothing_half_written_is_left_beside_the_checkpoint(killed, tmp_path):
    killed(tmp_path, 3)
    assert [path.name for path in checkpoint_path(tmp_path).parent.iterdir()] == [
        "latest.safetensors"
    ]


@pytest.mark.parametrize("part", [0.0, 0.2, 0.9])
def test_a_truncated_checkpoint_is_refused(killed, tmp_path, part):
    killed(tmp_path, 2)
    path = checkpoint_path(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(LoadError, match=r"latest\.safetensors is damaged: .*Remove it to start"):
        run(tmp_path, resume=True)


def _rewrite(path, change):
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    metadata = change({name: value for name, value in metadata.items() if name != "sha256"})
    metadata["sha256"] = _digest(metadata, values)  # as if it had been written so
    path.write_bytes(safetensors.numpy.save(values, metadata))


def test_a_checkpoint_of_another_format_is_refused(killed, tmp_path):
    killed(tmp_path, 2)
    _rewrite(checkpoint_path(tmp_path), lambda metadata: {**metadata, "format": "99"})
    message = r"Expected a checkpoint of format 3 in .*; got 99\. Go on with the version"
    with pytest.raises(LoadError, match=message):
        run(tmp_path, resume=True)


def test_a_checkpoint_of_another_flow_is_refused(killed, tmp_path):
    killed(tmp_path, 2)
    from flowjax.distributions import StandardNormal

    other = mf.Flow(line_flow().chart, StandardNormal((1,)))
    with pytest.raises(LoadError, match="names differ, the first is"):
        run(tmp_path, resume=True, flow=other)


def test_a_checkpoint_of_a_flow_built_by_somebody_else_is_refused(killed, tmp_path):
    killed(tmp_path, 2)
    change = {"built": json.dumps(["theirs", "{}"])}
    _rewrite(checkpoint_path(tmp_path), lambda metadata: {**metadata, **change})
    with pytest.raises(LoadError, match=r"got one built by 'theirs': it belongs to another flow"):
        run(tmp_path, resume=True)


def test_a_checkpoint_of_a_longer_recipe_is_refused(killed, tmp_path):
    killed(tmp_path, 6)
    with pytest.raises(LoadError, match="belongs to another recipe"):
        run(tmp_path, resume=True, phases=[moving(3, name="first")])


def test_a_checkpoint_that_is_not_one_is_refused(killed, tmp_path):
    killed(tmp_path, 2)
    checkpoint_path(tmp_path).write_bytes(safetensors.numpy.save({"a": np.zeros(3)}))
    with pytest.raises(LoadError, match="Expected a checkpoint of format 3"):
        run(tmp_path, resume=True)


def test_every_epoch_is_told_and_an_error_there_ends_training_for_resume_to_go_on(tmp_path):
    told = []
    whole = run(tmp_path / "whole", each_epoch=told.append)
    assert told == whole.history

    def stop(row):
        if row["phase"] == "patient":
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "stopped", each_epoch=stop)
    told.clear()
    resumed = run(tmp_path / "stopped", resume=True, each_epoch=told.append)
    assert losses(resumed.history) == losses(whole.history)
    assert told == resumed.history[-len(told) :]
    assert [row["phase"] for row in told if row["epoch"] == 1] == ["patient", "latents"]
