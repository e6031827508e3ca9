import json
import shutil
import signal
import time
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest
from tests import tiny
from tests.processes import DOUBLE, mflows

from mflows import runs, systems
from mflows.data import Data, DataError, load
from mflows.experiments.driver import mark
from mflows.experiments.driver import trained as experiment_run
from mflows.runs import Config
from mflows.saving import LoadError
from mflows.training import TrainingDiverged, recipes


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny.write_table(tmp_path_factory.mktemp("data") / "curve.csv")


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    return runs.train(tmp_path_factory.mktemp("runs") / "curve", tiny.config(table))


def losses(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("model", ["m-flow", "pie"])
def test_charts_bend_in_the_directions_that_few_points_span(model):
    wide = Data(np.random.default_rng(0).normal(size=(9, 20)))
    config = Config("wide.npy", latent_dim=2, model=model, settings={"width": 4})
    flow = config.resolved(8).setup(wide).flow
    assert json.loads(flow.built[1])["rank"] == 8
    asked = replace(config, settings={**config.settings, "rank": 5}).resolved(8).setup(wide).flow
    assert json.loads(asked.built[1])["rank"] == 5
    tall = config.resolved(8).setup(Data(np.random.default_rng(0).normal(size=(90, 20)))).flow
    assert json.loads(tall.built[1])["rank"] is None


@pytest.mark.parametrize(("columns", "rank"), [(20, None), (1001, 256)])
def test_an_ambient_flow_of_many_features_bends_in_some_directions(columns, rank):
    data = Data(np.random.default_rng(0).normal(size=(9, columns)))
    flow = Config("wide.npy", model="af", settings={"width": 4}).resolved(8).setup(data).flow
    assert json.loads(flow.built[1])["rank"] == rank


def test_the_training_of_a_large_flow_is_bounded_and_says_so():
    wide = Data(np.random.default_rng(0).normal(size=(300, 5000)))
    config = Config("wide.npy", model="af", settings={"rank": 5000})
    with pytest.warns(UserWarning, match=r"48,923,840 parameters.*at most 204 epochs, not 2000"):
        assert config.resolved(270, wide).epochs == 204
    assert replace(config, epochs=500).resolved(270, wide).epochs == 500
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        narrow = replace(config, settings={})
        assert narrow.resolved(270, Data(wide.x[:, :3])).epochs == 2000


def test_a_run_of_an_earlier_version_has_no_shape(trained):
    known = trained.source.as_dict()
    assert known.pop("shape") == (3,)
    assert runs.Source.from_dict(known) == trained.source


def test_a_run_folder_holds_everything(trained):
    names = {path.name for path in trained.folder.iterdir()}
    assert names >= {"config.json", "flow.json", "flow.safetensors", "history.jsonl"}
    assert names >= {"provenance.json", "checkpoints"}
    assert trained.provenance["status"] == "finished"
    assert trained.provenance["ended"] >= trained.provenance["started"]
    assert trained.provenance["wall_seconds"] > 0
    assert trained.provenance["machine"]["precision"] == "float64"
    assert trained.provenance["machine"]["cores"] >= 1
    assert trained.source.names == ("a", "b", "c")
    assert len(trained.history) == tiny.EPOCHS


def test_an_opened_run_is_the_trained_one(trained, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name, bytes_ in content(trained.folder).items():
        (moved / name).parent.mkdir(parents=True, exist_ok=True)
        (moved / name).write_bytes(bytes_)
    opened = runs.open_run(moved)
    data = opened.split().held_out
    assert (opened.score(data).log_prob == trained.score(data).log_prob).all()
    assert opened.config == trained.config
    assert opened.source == trained.source
    assert opened.history == trained.history
    assert opened.provenance == trained.provenance


def test_the_split_is_that_of_training(trained, table):
    kept, held_out = trained.split()
    assert (len(kept), len(held_out)) == (54, 6)
    rows = {tuple(row) for row in np.concatenate([kept.x, held_out.x])}
    assert len(rows) == tiny.ROWS
    again = runs.open_run(trained.folder).split(table)
    np.testing.assert_array_equal(again.held_out.x, held_out.x)


def test_the_file_is_read_hashed_and_checked_once(table, tmp_path, monkeypatch):
    seen = []

    def counted(module, name):
        genuine = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: seen.append(name) or genuine(*a, **k))

    counted(import_module("mflows.runs.source"), "digest")
    counted(import_module("mflows.runs.run"), "digest")
    counted(import_module("mflows.data.loading"), "read_table")
    for module in ("mflows.data.loading", "mflows.data.data"):
        counted(import_module(module), "check_finite")
    once = ["check_finite", "digest", "read_table"]

    run = runs.train(tmp_path / "run", tiny.config(table, epochs=2))
    run.score(run.split().held_out[:10])  # as `mflows fit` does at its end
    assert sorted(seen) == once
    seen.clear()
    runs.open_run(tmp_path / "run").split()  # as a report does
    assert sorted(seen) == once


def test_changed_or_missing_data_are_noticed(trained, tmp_path):
    other = tiny.write_table(tmp_path / "curve.csv", seed=1)
    with pytest.raises(DataError, match="content has changed"):
        trained.split(other)
    with pytest.raises(DataError, match="not there"):
        trained.split(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "gone.csv"}, "does not exist"),
        ({"latent_dim": None}, "Expected a latent dimension for the model 'm-flow'"),
        ({"latent_dim": 3}, "1 <= latent_dim <= 2"),
        ({"latent_dim": 0}, "1 <= latent_dim <= 2"),
        ({"model": "af", "settings": {}}, "Expected no latent dimension for the model 'af'"),
        (
            {"model": "fom", "settings": {}, "latent_dim": None},
            "Expected the setting 'manifold' of the model 'fom'",
        ),
        (
            {"model": "fom", "settings": {"manifold": "sphere"}},
            "no latent dimension for the model 'fom', .* a manifold it knows; got 1",
        ),
        (
            {"model": "fom", "settings": {"manifold": "circle"}, "latent_dim": None},
            "a manifold in 3 dimensions, out of: sphere; got 'circle'",
        ),
        ({"model": "flow"}, "Expected a model out of m-flow, .*; got 'flow'"),
        (
            {"recipe": "magic"},
            "Expected a recipe of 'm-flow' out of manifold-then-density, .*got 'magic'",
        ),
        (
            {"model": "af", "recipe": "scandal"},
            "of 'af' out of maximum-likelihood, scandal-likelihood, denoising; got 'scandal'",
        ),
        ({"settings": {"depth": 3}}, "Expected settings of 'm-flow' out of .*chart_layers"),
        ({"settings": {"width": 2.5}}, "Expected width to be of type int; got 2.5"),
        ({"settings": {"width": 0}}, "Expected width > 0"),
        ({"epochs": 0}, "Expected epochs >= 1"),
        ({"seed": -1}, "Expected seed >= 0"),
        (
            {"recipe_settings": {"sigma": 0.1}},
            r"settings of the recipe 'manifold-then-density' out of patience.*; got 'sigma'",
        ),
        (
            {"recipe_settings": {"patience": 1.5}},
            "Expected patience to be of type int or None; got 1.5",
        ),
        (
            {"recipe": "canonical", "recipe_settings": {"penalty": -1.0}},
            "Expected penalty >= 0 and finite; got -1.0",
        ),
        (
            {
                "model": "af",
                "settings": {},
                "latent_dim": None,
                "recipe": "denoising",
                "recipe_settings": {"sigma": 0.0},
            },
            "Expected sigma > 0, a standard deviation; got 0.0",
        ),
        ({"learning_rate": 0.0}, "Expected learning_rate > 0"),
        ({"condition": ("theta",)}, "expected condition column 'theta'"),
        ({"validation_fraction": 1.0}, "validation_fraction between 0 and 1"),
    ],
)
def test_on_bad_input_nothing_is_written(table, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        runs.train(tmp_path / "new" / "run", replace(tiny.config(table), **changes))
    assert not list(tmp_path.iterdir())


def test_a_run_is_overwritten_only_when_asked(table, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()  # an empty folder is free
    first = runs.train(folder, tiny.config(table))
    (folder / "report.html").write_text("old")
    (folder / "notes.txt").write_text("mine")
    before = content(folder)
    with pytest.raises(ValueError, match="holds a run already"):
        runs.train(folder, tiny.config(table))
    with pytest.raises(ValueError, match="latent_dim"):
        runs.train(folder, tiny.config(table, latent_dim=7), overwrite=True)
    with pytest.raises(ValueError, match="got both"):
        runs.train(folder, tiny.config(table), overwrite=True, resume=True)
    assert content(folder) == before
    second = runs.train(folder, tiny.config(table, seed=1), overwrite=True)
    assert losses(second.history) != losses(first.history)
    assert not (folder / "report.html").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_of_something_else_is_left_alone(table, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(ValueError, match="no run folder"):
            runs.train(tmp_path, tiny.config(table), **how)
    (tmp_path / "config.json").write_text('{"editor": "vi"}')
    with pytest.raises(LoadError, match="has format None"):
        runs.train(tmp_path, tiny.config(table), overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "thesis.tex"]


def killed_after(lines: int, table: Path, folder: Path, *more: str) -> None:
    """Run ``mflows fit`` in a process of its own and kill it after so many epochs."""
    process = mflows("fit", table, "--out", folder, *tiny.options(*more), config=DOUBLE)
    history = folder / "history.jsonl"
    try:
        while not history.is_file() or history.read_text().count("\n") < lines:
            assert process.poll() is None, "training ended before it could be killed"
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_a_killed_run_goes_on_to_the_same_numbers(trained, table, tmp_path):
    folder = tmp_path / "run"
    killed_after(3, table, folder)
    killed_after(tiny.EPOCHS // 2 + 3, table, folder, "--resume")
    assert not (folder / "flow.json").exists()
    with pytest.raises(LoadError, match="Go on with: mflows fit --resume --out"):
        runs.open_run(folder)

    resumed = runs.train(folder, tiny.config(table), resume=True)
    assert losses(resumed.history) == losses(trained.history)
    assert (folder / "flow.safetensors").read_bytes() == (
        trained.folder / "flow.safetensors"
    ).read_bytes()
    assert len(resumed.provenance["resumed"]) == 2
    assert resumed.provenance["status"] == "finished"
    rows = [json.loads(row) for row in (folder / "history.jsonl").read_text().splitlines()]
    assert losses(rows) == losses(trained.history)


def test_a_run_from_before_precision_was_kept_resumes(trained, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(trained.folder, folder)
    config = json.loads((folder / "config.json").read_text())
    del config["precision"], config["recipe_settings"], config["checksum"]
    config["format"] = 1  # not signed
    (folder / "config.json").write_text(json.dumps(config))
    opened = runs.train(folder, trained.config, resume=True)
    assert eqx.tree_equal(opened.flow, trained.flow)


def test_resuming_wants_the_same_settings_and_data(trained, table, tmp_path):
    before = content(trained.folder)
    with pytest.raises(ValueError, match="was started with epochs 40; got 50"):
        runs.train(trained.folder, tiny.config(table, epochs=50), resume=True)
    other = tiny.write_table(tmp_path / "curve.csv", seed=1)
    with pytest.raises(ValueError, match="is not the file that .* was started with"):
        runs.train(trained.folder, tiny.config(other), resume=True)
    same = runs.train(trained.folder, tiny.config(table), resume=True)  # has ended: opens it
    assert same.history == trained.history
    assert content(trained.folder) == before


def test_the_last_good_flow_of_a_diverged_run_is_saved(trained, table, tmp_path, monkeypatch):
    def fit(key, flow, data, phases, **_):
        raise TrainingDiverged(phases[-1], 3, float("nan"), trained.flow, [])

    monkeypatch.setattr(import_module("mflows.runs.training"), "fit", fit)
    folder = tmp_path / "run"
    with pytest.raises(TrainingDiverged, match="epoch 3: .* is saved in .*run"):
        runs.train(folder, tiny.config(table))
    for way in ("at once", "again"):  # an experiment goes on with it, and says so both times
        folder = tmp_path / ("run" if way == "again" else "experiment")
        run = experiment_run(folder, tiny.config(table), overwrite=False, progress=False)
        assert run.provenance["status"] == "diverged"
        assert mark(run.provenance["status"]) == " diverged"
    data = run.split().held_out
    assert (run.score(data).log_prob == trained.score(data).log_prob).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not a file of a run"),
        ('{"format": 99, "mflows": "9.0"}', "has format 99, written by mflows 9.0"),
        ('{"format": 1, "data": "x.csv"}', "not the config of a run"),
        ('{"format": 1, "source": {}}', "not the config of a run"),
        ('{"format": 1, "data": "x.csv", "model": "later"}', "not the config of a run"),
    ],
)
def test_a_damaged_config_is_refused(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(LoadError, match=message):
        runs.open_run(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(LoadError, match="has no config.json"):
        runs.open_run(tmp_path)
    with pytest.raises(LoadError, match="does not exist"):
        runs.open_run(tmp_path / "gone")


@pytest.mark.parametrize(("recipe", "size"), [(None, 100), ("optimal-transport", 1000)])
def test_the_batch_size_is_the_recipe_s_own_unless_given(table, recipe, size):
    config = tiny.config(table, recipe=recipe)
    assert config.resolved(60).batch_size == size
    assert replace(config, batch_size=7).resolved(60).batch_size == 7


def test_scandal_without_joint_scores_is_refused_before_training(table, monkeypatch):
    """By its objective, so that a recipe of one's own is too."""
    system = systems.SYSTEMS["m-flow"]
    mine = replace(system, recipes=(*system.recipes, "mine"))
    monkeypatch.setitem(systems.SYSTEMS, "m-flow", mine)
    monkeypatch.setitem(systems.RECIPES, "mine", recipes.scandal)
    for recipe in ("scandal", "mine"):
        config = tiny.config(table, recipe=recipe).resolved(60)
        with pytest.raises(ValueError, match=f"Expected an array joint_score.*recipe '{recipe}'"):
            config.setup(load(table))


def test_maximum_likelihood_of_a_learned_manifold_warns(table):
    config = tiny.config(table, recipe="maximum-likelihood").resolved(60)
    with pytest.warns(UserWarning, match="does not determine a learned manifold"):
        config.setup(load(table))
