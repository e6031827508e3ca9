import json
import shlex

import pytest
from tests import tiny

from mflows import runs, sweeps
from mflows.cli.options import searched
from mflows.cli.sweep import fit_command
from mflows.sweeps import Choice, Range
from mflows.training import TrainingDiverged

AF = ("--model", "af", "--set", "layers=1,bins=3,width=4", "--epochs", "12", "--batch-size", "20")
PATIENCE = ("--search", "recipe-set.patience=20|30")

BAD = {
    "nothing to search": ("at least one thing to search",),
    "no value": ("--search", "learning_rate", "NAME=a..b or NAME=a|b|c; got 'learning_rate'"),
    "no range": ("--search", "learning_rate=0.1", "NAME=a..b:log or NAME=a|b|c"),
    "no numbers": ("--search", "learning_rate=low..high", "got 'learning_rate=low..high'"),
    "no scale": ("--search", "learning_rate=0.1..1:square", "NAME=a..b:log"),
    "wrong order": ("--search", "learning_rate=1..0.1", "from low to high; got 1..0.1"),
    "twice": ("--search", "epochs=2..3", "--search", "epochs=5|6", "'epochs' twice"),
    "unknown": ("--search", "depth=2..3", "set.NAME or recipe-set.NAME; got 'depth'"),
    "setting": ("--search", "set.depth=2..3", "settings of 'm-flow' out of conditional_chart"),
    "end": ("--search", "learning_rate=0..1", "learning_rate > 0; got 0"),
    "objective": (
        "--search",
        "learning_rate=0.1..1",
        "--objective",
        "log-prob",
        "densities on different manifolds cannot be compared",
    ),
    "trials": ("--search", "learning_rate=0.1..1", "--trials", "0", "trials >= 1"),
    "option of fit": ("--search", "learning_rate=0.1..1", "--model", "van", "a model out of"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(command, table, tmp_path, case):
    *options, message = BAD[case]
    result = command("sweep", table, "-d", 1, "--out", tmp_path / "new" / "sweep", *options)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_to_go_on_the_folder_is_enough_and_nothing_else_is_taken(command, tmp_path):
    result = command("sweep", "--out", tmp_path, "--epochs", "3")
    assert result.exit_code == 2
    assert "--out and --trials only, to go on with a sweep; got 'epochs' too" in result.stderr
    assert "Missing the table" in command("sweep").stderr
    assert "Expected a sweep" in command("sweep", "--out", tmp_path).stderr


def test_the_search_syntax():
    assert searched(
        [
            "learning-rate=1e-4..1e-2:log",
            "set.width=32|64|128",
            "recipe-set.patience = 5..30",
            "set.interval=4..8.5",
            "recipe=scandal|alternating",
            "set.linear=true|false",
        ]
    ) == {
        "learning_rate": Range(1e-4, 1e-2, log=True),
        "set.width": Choice((32, 64, 128)),
        "recipe-set.patience": Range(5, 30),
        "set.interval": Range(4, 8.5),
        "recipe": Choice(("scandal", "alternating")),
        "set.linear": Choice((True, False)),
    }


def test_a_sweep_tells_its_trials_the_best_one_and_how_to_fit_it(command, table, tmp_path):
    out = tmp_path / "my sweep"
    result = command("sweep", table, *AF, *PATIENCE, "--trials", 2, "--out", out)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("trial ")]
    assert [line.split("  ")[0].split(" ")[1] for line in lines] == ["0:", "1:"]
    assert all("recipe-set.patience" in line and "log-prob" in line for line in lines)
    found = sweeps.open_sweep(out)
    best = found.run_folder(found.best)
    assert f"mflows report '{best}'" in result.stdout
    (fit,) = [line for line in result.stdout.splitlines() if line.startswith("  mflows fit")]
    assert "2 complete" in result.stdout

    again = tmp_path / "again"
    assert command(*shlex.split(fit)[1:], "--out", again).exit_code == 0
    assert runs.open_run(again).config == runs.open_run(best).config

    more = command("sweep", "--out", out, "--trials", 2)
    assert more.exit_code == 0
    assert "trial 0" not in more.stderr


def test_a_command_says_all_that_a_config_has():
    config = tiny.config(
        "a table.npz",
        model="me-flow",
        recipe="scandal",
        recipe_settings={"weight": 2.5},
        condition=("a", "b"),
        drop_constant=True,
        learning_rate=0.01,
    )
    assert shlex.join(fit_command(config)) == (
        "mflows fit 'a table.npz' --model me-flow --latent-dim 1 --recipe scandal "
        "--condition a,b --drop-constant --epochs 40 --learning-rate 0.01 "
        "--set chart_layers=1,latent_layers=1,bins=3,width=4,affine=True --recipe-set weight=2.5"
    )


def test_an_interrupt_says_how_to_go_on(command, table, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train", interrupted)
    out = tmp_path / "my sweep"
    result = command("sweep", table, *AF, *PATIENCE, "--out", out, "--trials", 7)
    assert result.exit_code == 130
    assert f"mflows sweep --out '{out}' --trials 7" in result.stderr
    assert json.loads((out / "sweep.json").read_text())["objective"] == "log-prob"


def test_a_sweep_without_a_finished_trial_says_so(command, table, tmp_path, monkeypatch):
    def diverges(folder, config, **_):
        flow, phases, _ = config.resolved(54).setup(runs.run.read_data(config)[0])
        raise TrainingDiverged(phases[-1], 3, float("nan"), flow, [])

    monkeypatch.setattr(runs, "train", diverges)
    result = command("sweep", table, *AF, *PATIENCE, "--out", tmp_path / "s", "--trials", 1)
    assert result.exit_code == 1
    assert "1 diverged" in result.stdout
    assert "No trial has finished" in result.stdout
