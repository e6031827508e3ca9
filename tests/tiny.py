"""A table and a run as small as they can be, the same everywhere so that they compile once."""

from pathlib import Path

import numpy as np

from mflows.data import save_array
from mflows.runs import Config

SETTINGS = {"chart_layers": 1, "latent_layers": 1, "bins": 3, "width": 4, "affine": True}
AMBIENT = ("--model", "af", "--set", "layers=1,width=4,affine=true")
"""Options of a system with one phase, which compiles soonest."""
ROWS, EPOCHS = 60, 40


def write_table(path: Path, *, rows: int = ROWS, conditional: bool = False, seed: int = 0) -> Path:
    """Points near a curve in three dimensions, columns a, b and c (and theta)."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-1, 1, size=(rows, 1))
    t = rng.normal(size=rows) + theta[:, 0]
    x = np.stack([t, t**2, np.sin(t)], axis=1) + 0.01 * rng.normal(size=(rows, 3))
    save_array(path, x, ("a", "b", "c"), more={"theta": theta} if conditional else {})
    return path


def config(table: Path, **changes) -> Config:
    """The config of a tiny M-flow on a table."""
    values = {"latent_dim": 1, "settings": SETTINGS, "epochs": EPOCHS}
    return Config(str(table), **{**values, **changes})


def options(*more: str) -> list[str]:
    """The same config as options of ``mflows fit``."""
    settings = ",".join(f"{name}={value}" for name, value in SETTINGS.items())
    return ["--latent-dim", "1", "--set", settings, "--epochs", str(EPOCHS), *more]
