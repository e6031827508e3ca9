"""Sweeps: many runs of one config with some of its fields searched, by Optuna.

    from mflows import runs, sweeps
    plan = sweeps.Plan(
        runs.Config("galaxies.parquet", latent_dim=2),
        {"learning_rate": sweeps.Range(1e-4, 1e-2, log=True), "set.width": sweeps.Choice((32, 64))},
    )
    sweep = sweeps.work("sweeps/galaxies", plan, trials=20)
    sweep.best.folder, sweep.best.values

A sweep folder, which any number of workers on any number of machines may share:

    sweep.json       the plan, and which data; what a worker that joins is checked against
    optuna.db        what Optuna knows of the trials, unless ``Plan.storage`` says elsewhere
    trials/0007      one ordinary run per trial
    sweep.html       what was found
"""

from mflows.sweeps.objectives import OBJECTIVES, objective_of
from mflows.sweeps.plan import Plan
from mflows.sweeps.space import Choice, Range
from mflows.sweeps.sweep import Sweep, Trial, open_sweep, read_plan
from mflows.sweeps.work import work

__all__ = [
    "OBJECTIVES",
    "Choice",
    "Plan",
    "Range",
    "Sweep",
    "Trial",
    "objective_of",
    "open_sweep",
    "read_plan",
    "work",
]
