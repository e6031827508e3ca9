"""Tables of results, from rows known in advance."""

import json

import pytest

from mflows.experiments.results import markdown, write_tables

ROWS = [
    {
        "model": "a",
        "seed": 0,
        "error": 1.0,
        "outlier_auc": 0.9,
        "status": "finished",
        "commit": "abc" * 9,
    },
    {
        "model": "a",
        "seed": 1,
        "error": 3.0,
        "outlier_auc": 0.8,
        "status": "diverged",
        "commit": None,
    },
    {
        "model": "a",
        "seed": 2,
        "error": 1.5,
        "outlier_auc": 0.7,
        "status": "finished",
        "commit": None,
    },
    {"model": "b", "seed": 0, "outlier_auc": 0.5, "status": "finished", "commit": None},
]


def test_systems_have_median_mean_and_worst_and_every_run_a_row():
    published = {"a": {"outlier_auc": ".6"}}
    lines = markdown("An experiment", ROWS, published=published).splitlines()
    assert "| model | runs | error | outlier_auc |" in lines
    assert "| a | 3, 1 failed | 1.5 (1.83; 3) | 0.8 (0.8; 0.7) |" in lines  # least AUC is worst
    assert "| *a, published* |  |  | .6 |" in lines
    assert "| b | 1 | - | 0.5 |" in lines
    assert "| a | 0 | 1 | 0.9 | finished | abcabca |" in lines
    assert "| a | 1 | 3 | 0.8 | diverged |  |" in lines
    assert "| b | 0 | - | 0.5 | finished |  |" in lines


def test_the_table_of_systems_shows_chosen_columns_and_the_other_all():
    lines = markdown("An experiment", ROWS, columns={"outlier_auc": "OOD AUC"}).splitlines()
    assert "| a | 3, 1 failed | 0.8 (0.8; 0.7) |" in lines
    assert "| model | runs | OOD AUC |" in lines
    assert "| model | seed | error | outlier_auc | status | commit |" in lines


def test_a_changed_tree_is_marked_at_its_commit():
    rows = [{**ROWS[0], "commit": "f" * 40 + "-dirty"}]
    assert markdown("An experiment", rows).splitlines()[-1].endswith("| fffffff* |")


def test_tables_are_written_for_experiments_that_were_run(tmp_path):
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    (tmp_path / "runs" / "other").mkdir()
    for name in ("digits", "other"):
        rows = [{**row, "curve": [1.0], "together": None} for row in ROWS]
        (tmp_path / "runs" / name / "results.json").write_text(json.dumps(rows))
    written = write_tables(tmp_path / "runs", tmp_path / "docs")
    assert written == [tmp_path / "docs" / "digits.md"]
    assert written[0].read_text().startswith("# digits")
    assert json.loads(written[0].with_suffix(".json").read_text()) == ROWS


def test_without_results_the_command_says_what_to_run(tmp_path):
    from typer import BadParameter

    from mflows.cli.tables import tables

    with pytest.raises(BadParameter, match="found none. Run `mflows experiment NAME` first"):
        tables(tmp_path, tmp_path / "out")
