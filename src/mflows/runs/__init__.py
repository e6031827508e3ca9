"""Runs: train a flow into a folder, and open such a folder again.

    from mflows import runs
    run = runs.train("runs/galaxies", runs.Config("galaxies.parquet", latent_dim=2))
    run = runs.open_run("runs/galaxies")

The folder's content is its identity: it can be moved and renamed.
"""

from mflows.runs.config import Config
from mflows.runs.provenance import commit
from mflows.runs.run import Run, open_run, read_config
from mflows.runs.source import Source
from mflows.runs.training import train

__all__ = [
    "Config",
    "Run",
    "Source",
    "commit",
    "open_run",
    "read_config",
    "train",
]
