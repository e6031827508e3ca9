"""Experiments of the field by name; each file holds its command and expected numbers."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

_FILES = {
    "circle": "circle",
    "conditional-sphere": "conditional_sphere",
    "digits": "digits",
    "ill-posed-likelihood": "ill_posed_likelihood",
    "lorenz": "lorenz",
    "polynomial-surface": "polynomial_surface",
    "rolled-shapes": "rolled_shapes",
    "sphere": "sphere",
    "sphere-targets": "sphere_targets",
}


def names() -> tuple[str, ...]:
    """Names that ``named`` knows."""
    return tuple(sorted(_FILES))


def named(name: str) -> Callable[..., None]:
    """The ``run`` function of an experiment.

    It takes ``(out, models, seeds, quick, *, jobs, overwrite)``: the folder to write to, the models
    to train, the number of seeds, whether to run a short version, how many trainings run side by
    side, and whether to train again what has been trained before.
    """
    return module(name).run


def module(name: str) -> ModuleType:
    """The module of an experiment; ``ValueError`` lists the names there are."""
    if name not in _FILES:
        raise ValueError(f"Expected an experiment out of: {', '.join(names())}; got {name!r}.")
    return import_module(f"mflows.experiments.{_FILES[name]}")
