"""Tables of results as Markdown, from the ``results.json`` that experiments leave behind.

For every system the median and the worst of its seeds, then every seed: a run that failed stays in
the table as failed, and its numbers count.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from types import MappingProxyType
from typing import Any

from mflows.experiments import named, names
from mflows.files import write_atomically

HIGHER_IS_BETTER = (
    "outlier_auc",
    "M-flow AUC",
    "PCA AUC",
    "mixture AUC",
    "AUC of",
    "ESS",
    "log_prob",
    "log_posterior",
    "auc",
)
COVERAGES, COVERED = ("coverage_1", "coverage_20", "coverage_90", "recalibrated", "local"), 0.9
"""Shares of truths in regions of a mass, and the mass."""
NO_LABELS = ("status", "commit", "device")
"""Texts of a row that do not name its system."""


def write_tables(runs: Path, out: Path) -> list[Path]:
    """Write ``NAME.md`` into ``out`` for every experiment with results in ``runs/NAME``.

    ``NAME.json`` beside it has its rows.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names():
        path = runs / name / "results.json"
        if path.is_file():
            rows = [_plain(row) for row in json.loads(path.read_text())]
            experiment = named(name)
            text = markdown(name, rows, columns=experiment.columns, published=experiment.published)
            write_atomically(out / f"{name}.md", text.encode())
            write_atomically(out / f"{name}.json", json.dumps(rows, indent=1).encode())
            written.append(out / f"{name}.md")
    return written


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without curves and histories, and without what was not measured."""
    return {
        key: value
        for key, value in row.items()
        if not isinstance(value, list) and (value is not None or key == "commit")
    }


def markdown(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    columns: Mapping[str, str] = MappingProxyType({}),
    published: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> str:
    """Both tables of an experiment: of its systems, and of all its runs.

    Args:
        name: Title.
        rows: One for each run. Texts but for ``status`` and ``commit`` name the system, whole
            numbers the run; the others are metrics.
        columns: Metric -> its heading, of those that the table of systems shows; all if empty.
        published: Published numbers of a system, by its names and the metric.
    """
    keys = dict.fromkeys(key for row in rows for key in row if key not in NO_LABELS)
    kinds = {key: next(type(row[key]) for row in rows if key in row) for key in keys}
    labels, counts, metrics = ([k for k in keys if kinds[k] is kind] for kind in (str, int, float))
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[label] for label in labels), []).append(row)

    shown = [key for key in columns if key in metrics] or metrics
    systems = []
    for group, members in groups.items():
        failed = sum(row.get("status", "finished") != "finished" for row in members)
        count = f"{len(members)}" + (f", {failed} failed" if failed else "")
        spreads = [_spread(k, [row[k] for row in members if k in row]) for k in shown]
        systems.append([*group, count, *spreads])
        if known := published.get(" ".join(group)):
            name_of = f"*{group[0]}, published*"
            systems.append([name_of, *group[1:], "", *(known.get(k, "") for k in shown)])
    runs = [
        [_text(row.get(k, "-")) for k in (*labels, *counts, *metrics)]
        + [row.get("status", ""), _short(row.get("commit") or "")]
        for row in rows
    ]
    return "\n".join(
        [
            f"# {name}",
            "",
            "Median (mean; worst) of all runs of a system:",
            "",
            *_table([*labels, "runs", *(columns.get(k, k) for k in shown)], systems),
            "",
            "Every run:",
            "",
            *_table([*labels, *counts, *metrics, "status", "commit"], runs),
            "",
        ]
    )


def _short(commit: str) -> str:
    """Seven digits, and a star for a tree that was changed since."""
    return commit[:7] + "*" * commit.endswith("-dirty")


def _spread(metric: str, values: Sequence[float]) -> str:
    if not values:
        return "-"
    best = COVERED if metric.startswith(COVERAGES) else 0.0
    higher = metric.startswith(HIGHER_IS_BETTER)
    worst = min(values) if higher else max(values, key=lambda value: abs(value - best))
    if len(values) == 1:
        return _text(values[0])
    return f"{_text(median(values))} ({_text(mean(values))}; {_text(worst)})"


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [headers, ["---"] * len(headers), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
