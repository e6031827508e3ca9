"""Simulators with known truth, by name."""

from functools import partial

from mflows.simulators.lorenz import Lorenz
from mflows.simulators.polynomial_surface import OutOfDistribution, PolynomialSurface
from mflows.simulators.simulator import (
    HasDistance,
    HasJointScore,
    HasLogProb,
    Scored,
    Simulator,
)
from mflows.simulators.sphere import ConditionalSphere, GaussianSphere

__all__ = [
    "ConditionalSphere",
    "GaussianSphere",
    "HasDistance",
    "HasJointScore",
    "HasLogProb",
    "Lorenz",
    "OutOfDistribution",
    "PolynomialSurface",
    "Scored",
    "Simulator",
    "named",
    "names",
]

_SIMULATORS = {
    "circle": partial(GaussianSphere, 1),
    "conditional-sphere": ConditionalSphere,
    "lorenz": Lorenz,
    "polynomial-surface": PolynomialSurface,
    "sphere": GaussianSphere,
}


def names() -> tuple[str, ...]:
    """List the names that `named` knows."""
    return tuple(sorted(_SIMULATORS))


def named(name: str) -> Simulator:
    """Return the simulator called ``name``; ``ValueError`` lists the known names."""
    if name not in _SIMULATORS:
        raise ValueError(f"Expected a simulator out of: {', '.join(names())}; got {name!r}.")
    return _SIMULATORS[name]()
