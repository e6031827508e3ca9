"""Figures of a sweep, in the style of the report: values by trial, by setting, and all at once."""

import warnings

import numpy as np
import optuna
from optuna.trial import TrialState

from mflows.pages.figures import (
    DATA,
    FILL,
    GRID,
    INK,
    MODEL,
    MUTED,
    Figure,
    Spec,
    Variant,
    axis,
    layout,
    log_axis,
    packed,
    text,
)
from mflows.sweeps.board import written
from mflows.sweeps.objectives import OBJECTIVES
from mflows.sweeps.space import Choice, Range
from mflows.sweeps.sweep import Sweep, Trial


def figures(sweep: Sweep) -> list[Figure]:
    """The figures that the trials allow."""
    found = [history_figure(sweep), slice_figure(sweep)]
    if len(sweep.plan.search) > 1:
        found += [importance_figure(sweep), parallel_figure(sweep)]
    return [figure for figure in found if figure is not None]


def history_figure(sweep: Sweep) -> Figure | None:
    """The objective by trial, and the least so far."""
    trials = sorted(sweep.finished, key=lambda trial: trial.number)
    if not trials:
        return None
    values = _values(trials)
    numbers = [trial.number for trial in trials]
    least: Spec = {
        "type": "scatter",
        "mode": "lines",
        "name": "least so far",
        "x": numbers,
        "y": packed(np.minimum.accumulate(values)),
        "line": {"color": MODEL, "width": 2, "shape": "hv"},
        "hovertemplate": "%{y:.4g}<extra>least so far</extra>",
    }
    drawing = layout(340, xaxis=axis("trial"), yaxis=_value_axis(sweep, values))
    others = len(sweep.trials) - len(trials)
    return Figure(
        "Trials",
        f"{OBJECTIVES[str(sweep.plan.objective)].title.capitalize()}, of every finished trial; "
        f"lower is better. {others} of {len(sweep.trials)} trials have no value: they were pruned, "
        "diverged, failed or still run.",
        [Variant([least, _dots(trials, numbers)], drawing)],
        wide=True,
    )


def slice_figure(sweep: Sweep) -> Figure | None:
    """The objective by the value of each thing searched; a menu chooses it."""
    trials = sweep.finished
    if not trials:
        return None
    variants = []
    for name, space in sweep.plan.search.items():
        x = [trial.values[name] for trial in trials]
        x_axis = axis(text(name))
        if isinstance(space, Choice):
            x = [str(value) for value in x]
            x_axis |= {"type": "category", "categoryarray": [str(v) for v in space.values]}
            x_axis |= {"categoryorder": "array", "range": [-0.5, len(space.values) - 0.5]}
        elif space.log:
            x_axis = log_axis(text(name), space.low, space.high)
        drawing = layout(340, xaxis=x_axis, yaxis=_value_axis(sweep, _values(trials)))
        variants.append(Variant([_dots(trials, x)], drawing, name))
    return Figure(
        "One setting at a time",
        "Finished trials by the value of one setting; the others vary along.",
        variants,
        menu="setting",
    )


def importance_figure(sweep: Sweep) -> Figure | None:
    """How much each setting matters, by PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255)."""
    study = optuna.create_study()
    for trial in sweep.finished:
        study.add_trial(
            optuna.create_trial(
                params=dict(trial.values),
                distributions={name: s.distribution for name, s in sweep.plan.search.items()},
                value=trial.value,
            )
        )
    if len(study.get_trials(states=(TrialState.COMPLETE,))) < 4:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study)
    names, shares = [text(n) for n in found][::-1], list(found.values())[::-1]
    bars: Spec = {
        "type": "bar",
        "orientation": "h",
        "x": shares,
        "y": names,
        "marker": {"color": FILL[DATA], "line": {"color": DATA, "width": 1}},
        "hovertemplate": "%{y}: %{x:.2f}<extra></extra>",
    }
    return Figure(
        "Importance",
        "How differently each setting is distributed in the better trials than in all (PED-ANOVA); "
        "the shares add up to one. Of few trials a rough guide.",
        [Variant([bars], layout(340, xaxis=axis("share", rangemode="tozero"), yaxis=axis()))],
    )


def parallel_figure(sweep: Sweep) -> Figure | None:
    """Every finished trial as a line through its values and its objective."""
    trials = sweep.finished
    if len(trials) < 2:
        return None
    values = _values(trials)
    dimensions = [
        _dimension(name, space, [trial.values[name] for trial in trials])
        for name, space in sweep.plan.search.items()
    ]
    ends = {"label": str(sweep.plan.objective), "values": packed(values)}
    lines: Spec = {
        "type": "parcoords",
        "dimensions": [*dimensions, ends],
        "line": {
            "color": packed(np.argsort(np.argsort(values)).astype(float)),
            "colorscale": [[0, MODEL], [1, GRID]],
            "cmin": 0,
            "cmax": len(trials) - 1,
        },
        "labelfont": {"color": INK, "size": 12},
        "tickfont": {"color": MUTED, "size": 11},
        "rangefont": {"color": MUTED, "size": 10},
    }
    drawing = layout(400, margin={"l": 64, "r": 48, "t": 56, "b": 24})
    return Figure(
        "All settings at once",
        "One line per finished trial, the best the most strongly coloured. Drag along an axis to "
        "keep the lines that cross a stretch of it.",
        [Variant([lines], drawing)],
        wide=True,
        min_width=140 * (len(dimensions) + 1),
    )


def _dimension(name: str, space: Range | Choice, values: list) -> Spec:
    if isinstance(space, Choice):
        return {
            "label": text(name),
            "values": [space.values.index(value) for value in values],
            "range": [0, len(space.values) - 1],
            "tickvals": list(range(len(space.values))),
            "ticktext": [text(str(value)) for value in space.values],
        }
    ends = np.array([space.low, space.high], dtype=float)
    numbers = np.array(values, dtype=float)
    if not space.log:
        return {"label": text(name), "values": packed(numbers), "range": ends.tolist()}
    ticks = np.geomspace(space.low, space.high, 5)
    return {
        "label": text(name),
        "values": packed(np.log10(numbers)),
        "range": np.log10(ends).tolist(),
        "tickvals": np.log10(ticks).tolist(),
        "ticktext": [f"{tick:.2g}" for tick in ticks],
    }


def _dots(trials: list[Trial], x: list) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "trials",
        "x": x,
        "y": packed(_values(trials)),
        "marker": {"size": 8, "color": DATA, "opacity": 0.8},
        "customdata": [[trial.number, text(written(trial.values), 200)] for trial in trials],
        "hovertemplate": "trial %{customdata[0]}: %{y:.4g}<br>%{customdata[1]}<extra></extra>",
        "showlegend": False,
    }


def _values(trials: list[Trial]) -> np.ndarray:
    return np.array([trial.value for trial in trials], dtype=float)


def _value_axis(sweep: Sweep, values: np.ndarray) -> Spec:
    title = text(str(sweep.plan.objective) if sweep.plan.objective != "log-prob" else "-log p")
    if values.min() > 0 and values.max() > 3 * values.min():
        return log_axis(title, values.min(), values.max())
    return axis(title)
