"""The code in the documentation runs."""

import re
import shlex
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest
from tests import tiny
from tests.slices import start_at_a_good_width
from typer.testing import CliRunner

from mflows import models, systems
from mflows.cli import app
from mflows.sweeps.study import SharedStudy

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


SHORTER = {
    "inference.md": {
        '"latent_layers": 2, ': '"latent_layers": 2, "affine": True, ',
        "flow, observed, prior)\nprint": "flow, observed, prior, draws=200, warmup=120)\nprint",
        "datasets=100": "datasets=20, draws=30, warmup=50",
        "warmup_steps=20": "warmup_steps=1",
        "(60)": "(40)",
    }
}
"""Where a page shows what is long to run: its text, and that of the test."""


@pytest.mark.parametrize(
    "name",
    [
        "extending.md",
        "geodesics.md",
        "images.md",
        "inference.md",
        "log_volumes.md",
        "particle_physics.md",
        "prescribed_manifolds.md",
        "training_algorithms.md",
    ],
)
def test_python_blocks_run_one_after_the_other(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start_at_a_good_width(monkeypatch)
    text = (DOCS / name).read_text()
    for shown, shorter in SHORTER.get(name, {}).items():
        assert text.count(shown) == 1
        text = text.replace(shown, shorter)
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    namespace: dict = {}
    with patch.dict(systems.SYSTEMS), patch.dict(systems.RECIPES), patch.dict(models.BUILDERS):
        for block in blocks:
            exec(compile(block, name, "exec"), namespace)


def test_the_tutorial_runs_from_the_table_to_the_outlier_score(tmp_path, monkeypatch, capsys):
    """Every block in its order; fits are shortened, and what is refused is refused as printed."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "tutorial_digits.md").read_text()
    blocks = re.findall(r"```(python|sh)\n([^`]*)```\n\n((?:    .*\n)*)", text)
    assert [kind for kind, *_ in blocks] == ["python", "sh", "sh", "sh", "python"]
    settings = ",".join(f"{name}={value}" for name, value in tiny.SETTINGS.items())
    namespace: dict = {}
    for kind, block, refusal in blocks:
        if kind == "python":
            exec(compile(block, "tutorial_digits.md", "exec"), namespace)
            continue
        for line in block.splitlines():
            _, command, *arguments = shlex.split(line)
            if command == "fit":
                arguments += ["--epochs", "2", "--set", settings]
            result = CliRunner().invoke(app, [command, *arguments])
            assert result.exit_code == (2 if refusal else 0), result.output
            assert not refusal or refusal.split() == result.stderr.split()
    assert "outlier_auc" in capsys.readouterr().out
    assert (tmp_path / "runs/digits/report.html").is_file()
    assert len(namespace["np"].load("samples.npy")) == 100


def test_the_commands_and_the_code_of_sweeps_are_accepted(tmp_path, monkeypatch):
    """Commands up to their first trial; the Python with few trials of a tiny flow."""
    monkeypatch.chdir(tmp_path)
    tiny.write_table(tmp_path / "galaxies.parquet")
    text = (DOCS / "sweeps.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    block = block.replace("epochs=50", f"epochs=2, settings={tiny.SETTINGS}").replace("=20", "=1")
    block = block.replace("latent_dim=2", "latent_dim=1").replace('"set.width"', '"set.blocks"')
    exec(compile(block.replace("32, 64", "1, 2"), "sweeps.md", "exec"), {})
    assert (tmp_path / "sweeps" / "galaxies" / "sweep.html").is_file()

    monkeypatch.setattr(SharedStudy, "take", lambda shared, total: None)
    commands = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    assert len(commands) == 3
    for line in commands:
        if "galaxies.parquet" in line:  # another sweep
            shutil.rmtree(tmp_path / "sweeps")
        result = CliRunner().invoke(app, shlex.split(line.replace("\\\n", " "))[1:])
        assert "No trial has finished" in result.stdout, result.output


def test_the_numbers_of_the_readme_are_those_of_the_pages_that_it_links_to():
    number = re.compile(r"(?<![\w.])\d*\.?\d+(?:e-?\d+)?")
    results = (ROOT / "README.md").read_text().split("## Results")[1].split("\n## ")[0]
    rows = re.findall(r"^\| .* \| (.*) \| (.*) \| \[.*\]\((docs/results/.*)\) \|$", results, re.M)
    assert len(rows) >= 6
    for *cells, page in rows:
        there = set(number.findall((ROOT / page).read_text()))
        for cell in cells:
            assert set(number.findall(cell)) <= there, f"{page} does not have {cell}"


def test_every_page_of_the_log_is_in_its_index_and_ends_with_a_conclusion():
    index = (ROOT / "LOG.md").read_text()
    for page in (DOCS / "log").glob("*.md"):
        assert f"(docs/log/{page.name})" in index
        assert re.search(r"^\*\*Conclusion\.\*\* ", page.read_text(), re.M), page.name


def test_relative_links_lead_somewhere():
    pages = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "LOG")]
    for page in (*pages, *DOCS.rglob("*.md")):
        for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links to {target}"
            if anchor and there.suffix == ".md":
                assert anchor in _anchors(there), f"{page.name} links to {target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
