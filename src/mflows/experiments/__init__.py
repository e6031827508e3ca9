"""Experiments of the field by name; each file holds its command and expected numbers.

An experiment is one ``EXPERIMENT``, in the file of its name (with underscores), and a line here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mflows.experiments.driver import Experiment

NAMES = (
    "arm",
    "circle",
    "conditional-sphere",
    "digits",
    "embeddings",
    "gan2d",
    "gan64d",
    "geodesics",
    "ill-posed-likelihood",
    "image-folder",
    "inference-benchmark",
    "lorenz",
    "particle-physics",
    "particle-physics-dimension",
    "polynomial-surface",
    "rolled-shapes",
    "sphere",
    "sphere-targets",
)


def names() -> tuple[str, ...]:
    """Names that ``named`` knows."""
    return NAMES


def named(name: str) -> "Experiment":
    """The experiment of this name, to be called; ``ValueError`` lists the names there are."""
    if name not in NAMES:
        raise ValueError(f"Expected an experiment out of: {', '.join(NAMES)}; got {name!r}.")
    return import_module(f"mflows.experiments.{name.replace('-', '_')}").EXPERIMENT
