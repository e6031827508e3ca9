"""The driver of all experiments: from cases, systems and seeds to a table of measurements.

An experiment is a table with a row for every combination of its axes and every seed. What makes it
that experiment is how one row is measured: a function from a ``Job`` to a dictionary of numbers.
The driver does the rest: it runs jobs side by side, keeps every row in ``results.json`` as soon as
it is measured, leaves out rows that are there already, and prints the table.
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mflows import runs, systems
from mflows.experiments.jobs import run_jobs
from mflows.files import write_atomically
from mflows.training import TrainingDiverged

Row = dict[str, Any]

SMALL = {
    "affine": True,
    "blocks": 1,
    "bins": 4,
    "chart_layers": 2,
    "encoder_blocks": 1,
    "encoder_width": 8,
    "latent_layers": 1,
    "layers": 2,
    "starts": 4,
    "width": 8,
}
"""Settings of systems in the short version, where they have them: few layers that compile soon."""


@dataclass(frozen=True)
class Job:
    """One row to measure.

    Attributes:
        out: Folder of the experiment.
        labels: The row's value on every axis.
        seed: Its seed.
        quick: Whether this is the short version, which shows only that everything runs.
        overwrite: Whether to train again what has been trained before.
        progress: Whether to show the progress of trainings.
        budget: Minutes of training, of experiments that have a budget.
    """

    out: Path
    labels: Mapping[str, str]
    seed: int
    quick: bool = False
    overwrite: bool = False
    progress: bool = False
    budget: float | None = None

    def file(self, name: str, write: Callable[[Path], None]) -> Path:
        """The file of this name, written unless an earlier job or experiment did."""
        path = self.out / name
        if self.overwrite or not path.is_file():
            write(path)
        return path

    def train(
        self,
        folder: Path,
        data: Path,
        model: str,
        *,
        latent_dim: int,
        epochs: int | None = None,
        settings: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> runs.Run:
        """The run of a system, as ``m-flow:alternating``, in ``folder``: trained, or opened.

        Settings that the system's name gives win over ``settings``; the short version has networks
        as small as they get and two epochs. ``more`` are further fields of ``runs.Config``.
        """
        chosen = systems.parse(model)
        small = SMALL if self.quick else {}
        recipe = systems.recipe(chosen.recipe or chosen.system.recipes[0])
        if epochs is None and "tolerance" in inspect.signature(recipe).parameters:
            # Fixed lengths, so that systems can be compared.
            more["recipe_settings"] = {"tolerance": 0.0, **more.get("recipe_settings", {})}
        known = chosen.system.settings
        config = runs.Config(
            data=str(data),
            latent_dim=latent_dim if chosen.system.takes_latent_dim else None,
            model=chosen.model,
            recipe=chosen.recipe,
            settings={
                **(settings or {}),
                **{name: small[name] for name in small if name in known},
                **chosen.settings,
            },
            epochs=2 if self.quick else epochs,
            seed=self.seed,
            **more,
        )
        return trained(folder, config, overwrite=self.overwrite, progress=self.progress)


@dataclass(frozen=True)
class Experiment:
    """What an experiment is. It is called to run.

    Attributes:
        title: Heading of the table.
        measure: Numbers of one row. Where a run is trained it adds ``account(run)``.
        axes: Label -> its values, of which rows have one each, the last axis slowest. The systems
            to compare, if there are several, are the axis ``model``.
        columns: Metric -> heading, of those that the table shows.
        system: The only system that the experiment is about; others that are asked for are left
            out.
        quick: Axes of the short version where they differ.
        free: Axes that take other values than those listed, too.
        seeds: Number of seeds by default.
        seed: What the seed is called in rows.
        most_seeds: Largest number of seeds, if there is one.
        budget: Minutes of training of a row, by default; ``None`` where its length is fixed.
        prepare: Called with the folder, and whether it is the short version, before rows are
            measured: writes what all of them share.
        finish: Called with the folder and the rows asked for: reports and figures.
        published: Published numbers of a system, by its labels and the metric.
    """

    title: str
    measure: Callable[[Job], Row]
    axes: Mapping[str, Sequence[str]]
    columns: Mapping[str, str]
    system: str | None = None
    quick: Mapping[str, Sequence[str]] = field(default_factory=dict)
    free: Sequence[str] = ()
    seeds: int = 1
    seed: str = "seed"
    most_seeds: int | None = None
    budget: float | None = None
    prepare: Callable[[Path, bool], None] | None = None
    finish: Callable[[Path, list[Row]], None] | None = None
    published: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __call__(
        self,
        out: Path,
        models: Sequence[str] | None = None,
        seeds: int | None = None,
        quick: bool = False,
        *,
        jobs: int = 1,
        overwrite: bool = False,
        budget: float | None = None,
        only: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Measure every row, print the table, write ``results.json``, reports and figures.

        Rows that ``results.json`` has are kept; without it, runs that have ended are opened and
        measured again.

        Args:
            out: Folder to write to.
            models: Systems to train; by default the experiment's own.
            seeds: Number of seeds, 0, 1, ...; by default the experiment's own.
            quick: The short version, whose numbers mean nothing.
            jobs: Trainings side by side.
            overwrite: Train again what has been trained before.
            budget: Minutes of training of a row; by default the experiment's own.
            only: Axis -> the values to take, by default the experiment's own.

        Raises:
            ValueError: If models, values, seeds or budget make no sense to the experiment, or the
                folder holds rows of its other version or of another budget.
        """
        axes = self._axes(models, only or {}, quick=quick)
        count = self.seeds if seeds is None else seeds
        if self.most_seeds is not None and count > self.most_seeds:
            raise ValueError(
                f"Expected at most {self.most_seeds} seeds, one for each {self.seed}; got {count}."
            )
        if budget is not None and (self.budget is None or not 0 < budget < math.inf):
            raise ValueError(
                "Expected no budget for this experiment, whose trainings have a fixed length; got "
                f"{budget:g} minutes."
                if self.budget is None
                else f"Expected a budget above 0 minutes and finite; got {budget:g}."
            )
        budget = None if quick else (budget or self.budget)
        out.mkdir(parents=True, exist_ok=True)
        path = out / "results.json"
        stale, rows = (_read(path), []) if overwrite else ([], _read(path))
        if any(row.get("quick", False) != quick for row in rows):
            raise ValueError(
                f"{path} holds rows of the {'full' if quick else 'short'} version, with which "
                "these cannot stand. Give another --out, or replace them with --overwrite."
            )
        if budgets := {row.get("budget") for row in rows} - {budget}:
            raise ValueError(
                f"{path} holds rows of a budget of {', '.join(map(str, budgets))} minutes, with "
                f"which those of {budget} cannot stand. Give another --out, or --overwrite."
            )
        if self.prepare is not None:
            self.prepare(out, quick)
        shared = {"quick": quick, "overwrite": overwrite, "progress": jobs == 1, "budget": budget}
        asked = [
            Job(out, dict(zip(axes, values[::-1], strict=True)), seed, **shared)
            for seed in range(count)
            for values in product(*[*axes.values()][::-1])
        ]
        known = [*map(self._key, rows)]
        missing = [job for job in asked if (*job.labels.values(), job.seed) not in known]
        own: dict[tuple, Row] = {}
        for row in run_jobs(self._row, [(job,) for job in missing], jobs):
            own[self._key(row)] = row
            others = [each for each in _read(path) if each not in stale]  # of other processes, too
            others = [each for each in others if self._key(each) not in own]
            rows = self._sorted([*others, *own.values()], axes)
            write_atomically(path, json.dumps(rows, indent=2).encode())
        console = Console()
        console.print(self._table(rows))
        if self.finish is not None:
            wanted = {(*job.labels.values(), job.seed) for job in asked}
            self.finish(out, [row for row in rows if self._key(row) in wanted])

    def _axes(
        self, models: Sequence[str] | None, only: Mapping[str, Sequence[str]], *, quick: bool
    ) -> dict[str, tuple[str, ...]]:
        axes = {**self.axes, **(self.quick if quick else {})}
        for name, values in only.items():
            if name == "model" or name not in axes:
                known = [each for each in axes if each != "model"]
                raise ValueError(
                    f"Expected an axis out of: {', '.join(known) or 'none'}; got {name!r}."
                )
            strange = [] if name in self.free else [v for v in values if v not in self.axes[name]]
            if strange or not values:
                raise ValueError(
                    f"Expected values of {name} out of: {', '.join(self.axes[name])}; got "
                    f"{', '.join(strange) or 'none'}."
                )
        axes |= only
        if models is not None:
            for name in models:
                if name not in self.axes.get("model", ()):  # which may hold what is no system
                    systems.parse(name)
            if self.system is not None:
                own = [name for name in models if systems.parse(name).model == self.system]
                if not own:
                    raise ValueError(
                        f"Expected {self.system} among the models of this experiment; got "
                        f"{', '.join(models)}."
                    )
                models = own
            if "model" in axes:
                axes["model"] = models
        return {label: tuple(values) for label, values in axes.items()}

    def _row(self, job: Job) -> Row:
        more = {"quick": True} if job.quick else {}
        more |= {} if job.budget is None else {"budget": job.budget}
        return {**job.labels, self.seed: job.seed, **self.measure(job), **more}

    def _key(self, row: Row) -> tuple:
        return (*(row[label] for label in self.axes), row[self.seed])

    def _sorted(self, rows: list[Row], axes: dict[str, tuple[str, ...]]) -> list[Row]:
        """By the order of the values asked for, others after them, the last axis slowest."""
        places = {
            label: [*dict.fromkeys((*values, *(row[label] for row in rows)))]
            for label, values in reversed(axes.items())
        }
        return sorted(
            rows,
            key=lambda row: (*(at.index(row[k]) for k, at in places.items()), row[self.seed]),
        )

    def _table(self, rows: list[Row]) -> Table:
        """A table without frames, which cost the width that numbers need."""
        labels = {label: label for label in (*self.axes, self.seed)}
        table = Table(
            *labels,
            *(heading for key, heading in self.columns.items() if key not in labels),
            title=self.title,
            box=SIMPLE_HEAD,
            padding=(0, 0),
        )
        for row in rows:
            named = [re.sub("[:+]", " ", row[label]) for label in self.axes]
            numbers = [_text(row.get(key)) for key in self.columns if key not in labels]
            table.add_row(*named, f"{row[self.seed]}{mark(row['status'])}", *numbers)
        return table


def _read(path: Path) -> list[Row]:
    return json.loads(path.read_text()) if path.is_file() else []


def trained(folder: Path, config: runs.Config, *, overwrite: bool, progress: bool) -> runs.Run:
    """Train, go on with, or open the run in ``folder``.

    A run that diverged comes with its last good flow; ``provenance["status"]`` tells.
    """
    replace = overwrite and folder.is_dir()
    try:
        return runs.train(folder, config, overwrite=replace, resume=not replace, progress=progress)
    except TrainingDiverged:
        return runs.open_run(folder)


def account(run: runs.Run) -> Row:
    """What a row says of how its run went."""
    kept = ("status", "wall_seconds", "cpu_seconds", "commit")
    return {name: run.provenance[name] for name in kept}


def folder(out: Path, *parts: object) -> Path:
    """The folder of a run, named by its labels."""
    return out / re.sub("[:+]", "-", "-".join(map(str, parts)))


def mark(status: str) -> str:
    """What a table puts beside a row of a run that ended so."""
    return "" if status == "finished" else f" {status}"


def _text(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"
