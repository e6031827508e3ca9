"""The page of a sweep: Optuna's own figures, set like the report of a run."""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna import visualization

from mflows.pages.content import Content, Table
from mflows.pages.figures import DATA, FILL, GRID, INK, MODEL, Figure, Variant, scale
from mflows.pages.page import write
from mflows.sweeps.objectives import OBJECTIVES
from mflows.sweeps.plan import written
from mflows.sweeps.study import Sweep, state_of

_LISTED = 200


def write_sweep(sweep: Sweep) -> Path:
    """Write ``sweep.html`` into the folder of a sweep and return its path."""
    return write(sweep.folder / "sweep.html", _content(sweep))


def _content(sweep: Sweep) -> Content:
    plan, config = sweep.plan, sweep.plan.config
    states = Counter(map(state_of, sweep.trials))
    summary = {"trials": ", ".join(f"{count} {state}" for state, count in states.items()) or "none"}
    if sweep.finished:
        summary = {
            f"least {plan.objective}": f"{sweep.best.value:.4g}",
            "best trial": str(sweep.best.number),
            **summary,
        }
    common = {**config.settings, **config.recipe_settings}
    settings = {
        "model": config.model,
        "objective": OBJECTIVES[str(plan.objective)].title,
        **{f"searched: {name}": written(space) for name, space in plan.search.items()},
        **{name.replace("_", " "): str(value) for name, value in common.items()},
        "seed": str(config.seed),
        "data": config.data,
    }
    return Content(
        title=f"Sweep of {config.model} on {Path(config.data).name}",
        lead=f"Minimises the {OBJECTIVES[str(plan.objective)].title}.",
        summary=summary,
        settings=settings,
        figures={"Search": _figures(sweep)},
        tables=[_table(sweep)],
    )


def _table(sweep: Sweep) -> Table:
    """All trials, those with a value first, the best on top."""
    others = [trial for trial in sweep.trials if trial.value is None]
    listed = [*sweep.finished, *others][:_LISTED]
    names = list(sweep.plan.search)
    rows = [
        [
            trial.number,
            "–" if trial.value is None else trial.value,
            state_of(trial),
            *(trial.params.get(name, "–") for name in names),
            "–" if trial.duration is None else round(trial.duration.total_seconds(), 1),
        ]
        for trial in listed
    ]
    cut = len(sweep.trials) > len(listed)
    caption = f"The first {_LISTED} of {len(sweep.trials)} trials." if cut else ""
    columns = ("trial", str(sweep.plan.objective), "state", *names, "seconds")
    return Table("Trials", columns, rows, caption)


def _figures(sweep: Sweep) -> list[Figure]:
    """The figures that the trials allow."""
    if not sweep.finished:
        return []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    study.add_trials(sweep.trials)
    found = [_history(sweep, study), _slices(sweep, study)]
    if len(sweep.plan.search) > 1 and len(sweep.finished) > 1:
        if len(sweep.finished) > 3:
            found.append(_importance(study))
        found.append(_parallel(sweep, study))
    return found


def _history(sweep: Sweep, study: optuna.Study) -> Figure:
    """The objective by trial, and the least so far."""
    drawing = visualization.plot_optimization_history(study, target_name="trials")
    drawing.update_traces(marker={"size": 8, "color": DATA}, selector={"mode": "markers"})
    drawing.update_traces(
        name="least so far", line={"color": MODEL, "shape": "hv"}, selector={"mode": "lines"}
    )
    others = len(sweep.trials) - len(sweep.finished)
    return Figure(
        "Trials",
        f"{OBJECTIVES[str(sweep.plan.objective)].title.capitalize()}, of every finished trial; "
        f"lower is better. {others} of {len(sweep.trials)} trials have no value: they were pruned, "
        "diverged, failed or still run.",
        [Variant(_set(drawing, yaxis=_value_axis(sweep)))],
        wide=True,
    )


def _slices(sweep: Sweep, study: optuna.Study) -> Figure:
    """The objective by the value of each thing searched; a menu chooses it."""
    variants = []
    for name in sweep.plan.search:
        drawing = visualization.plot_slice(study, [name])
        bar = {"title": {"text": "trial", "side": "top"}, "thickness": 12, "outlinewidth": 0}
        marker = {"size": 8, "colorscale": [[0, GRID], [1, DATA]], "colorbar": {**bar, "xpad": 10}}
        drawing.update_traces(marker=marker)
        variants.append(Variant(_set(drawing, yaxis=_value_axis(sweep)), name))
    return Figure(
        "One setting at a time",
        "Finished trials by the value of one setting; the others vary along.",
        variants,
        menu="setting",
    )


def _importance(study: optuna.Study) -> Figure:
    """How much each setting matters, by PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawing = visualization.plot_param_importances(study)
    drawing.update_traces(marker={"color": FILL[DATA], "line": {"color": DATA, "width": 1}})
    return Figure(
        "Importance",
        "How differently each setting is distributed in the better trials than in all (PED-ANOVA); "
        "the shares add up to one. Of few trials a rough guide.",
        [Variant(_set(drawing, xaxis={"title": "share", "range": [0, 1.1]}, yaxis={"title": ""}))],
    )


def _parallel(sweep: Sweep, study: optuna.Study) -> Figure:
    """Every finished trial as a line through its objective and its settings."""
    name = str(sweep.plan.objective)
    drawing = visualization.plot_parallel_coordinate(study, target_name=name)
    traces: Any = drawing.data
    lines = [trace for trace in traces if trace.mode == "lines"]
    for trace in lines:  # where it crosses the first axis says how good it is
        trace.update(line={"color": MODEL, "width": 2}, opacity=0.9 - 0.8 * trace.y[0])
    drawing = go.Figure(lines, drawing.layout)
    drawing.update_annotations(font={"color": INK})
    return Figure(
        "All settings at once",
        "One line per finished trial, the best the most strongly coloured.",
        [Variant(_set(drawing, height=400, margin={"l": 40, "r": 40}))],
        wide=True,
        min_width=140 * (len(sweep.plan.search) + 1),
    )


def _set(drawing: go.Figure, *, height: int = 340, **layout: Any) -> go.Figure:
    """A figure of Optuna, without the title and colours that the page gives it."""
    bare = {"title": None, "plot_bgcolor": None, "height": height, "width": None}
    return drawing.update_layout(**bare, **layout)


def _value_axis(sweep: Sweep) -> dict[str, Any]:
    title = "-log p" if sweep.plan.objective == "log-prob" else str(sweep.plan.objective)
    values = [float(trial.value or 0.0) for trial in sweep.finished]
    return scale(title, log=min(values) > 0 and max(values) > 3 * min(values))
