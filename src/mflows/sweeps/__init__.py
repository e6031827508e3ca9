"""Sweeps: many runs of one config with some of its fields searched, by Optuna.

    from mflows import runs, sweeps
    plan = sweeps.Plan(
        runs.Config("galaxies.parquet", latent_dim=2),
        {"learning_rate": sweeps.Range(1e-4, 1e-2, log=True), "set.width": sweeps.Choice((32, 64))},
    )
    sweep = sweeps.work("sweeps/galaxies", plan, trials=20)
    sweep.best.params, sweep.best.value, sweep.run_folder(sweep.best)

A sweep folder, which any number of workers on any number of machines may share:

    sweep.json       the plan, and which data; what a worker that joins is checked against
    optuna.db        what Optuna knows of the trials, unless ``Plan.storage`` says elsewhere
    trials/0007      one ordinary run per trial
    sweep.html       what was found

``plan`` says what is searched, ``objectives`` by which number it is judged, ``storage`` how workers
share a folder, ``study`` which trials there are, and ``worker`` trains them.
"""

from mflows.sweeps.objectives import OBJECTIVES, objective_of
from mflows.sweeps.plan import Choice, Plan, Range
from mflows.sweeps.study import Sweep, open_sweep, read_plan
from mflows.sweeps.worker import work

__all__ = [
    "OBJECTIVES",
    "Choice",
    "Plan",
    "Range",
    "Sweep",
    "objective_of",
    "open_sweep",
    "read_plan",
    "work",
]
