"""The page of a sweep, set like the report of a run."""

from collections import Counter
from pathlib import Path

from mflows.pages import Content, Table, write
from mflows.pages.sweep_figures import figures
from mflows.sweeps.objectives import OBJECTIVES
from mflows.sweeps.sweep import Sweep

_LISTED = 200


def write_sweep(sweep: Sweep) -> Path:
    """Write ``sweep.html`` into the folder of a sweep and return its path."""
    return write(sweep.folder / "sweep.html", _content(sweep))


def _content(sweep: Sweep) -> Content:
    plan, config = sweep.plan, sweep.plan.config
    states = Counter(trial.state for trial in sweep.trials)
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
        **{f"searched: {name}": str(space) for name, space in plan.search.items()},
        **{name.replace("_", " "): str(value) for name, value in common.items()},
        "seed": str(config.seed),
        "data": config.data,
    }
    return Content(
        title=f"Sweep of {config.model} on {Path(config.data).name}",
        lead=f"Minimises the {OBJECTIVES[str(plan.objective)].title}.",
        summary=summary,
        settings=settings,
        figures={"Search": figures(sweep)},
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
            trial.state,
            *(trial.values.get(name, "–") for name in names),
            "–" if trial.seconds is None else round(trial.seconds, 1),
        ]
        for trial in listed
    ]
    cut = len(sweep.trials) > len(listed)
    caption = f"The first {_LISTED} of {len(sweep.trials)} trials." if cut else ""
    columns = ("trial", str(sweep.plan.objective), "state", *names, "seconds")
    return Table("Trials", columns, rows, caption)
