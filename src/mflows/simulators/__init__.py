"""Simulators with known truth, by name.

A new simulator is a new file and a line in ``_SIMULATORS``. Files are imported when they are first
used: the names are known without JAX.
"""

import re
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mflows.simulators.arm import Arm
    from mflows.simulators.faces import ConditionalFaces, Faces
    from mflows.simulators.generated import GeneratorManifold, onnx_generator
    from mflows.simulators.lorenz import Lorenz
    from mflows.simulators.physics.wbf_higgs import WBFHiggs
    from mflows.simulators.polynomial_surface import PolynomialSurface
    from mflows.simulators.redundant import RedundantObservables
    from mflows.simulators.rolled import SCurve, Spiral, SwissRoll
    from mflows.simulators.simulator import (
        Generator,
        HasDistance,
        HasJointScore,
        HasLatents,
        HasLogProb,
        HasPosterior,
        HasSurface,
        Scored,
        Simulator,
    )
    from mflows.simulators.slcp import SLCP, SLCPDistractors
    from mflows.simulators.sphere import ConditionalSphere, GaussianCircle, GaussianSphere
    from mflows.simulators.two_moons import TwoMoons

__all__ = [
    "SLCP",
    "Arm",
    "ConditionalFaces",
    "ConditionalSphere",
    "Faces",
    "GaussianCircle",
    "GaussianSphere",
    "Generator",
    "GeneratorManifold",
    "HasDistance",
    "HasJointScore",
    "HasLatents",
    "HasLogProb",
    "HasPosterior",
    "HasSurface",
    "Lorenz",
    "PolynomialSurface",
    "RedundantObservables",
    "SCurve",
    "SLCPDistractors",
    "Scored",
    "Simulator",
    "Spiral",
    "SwissRoll",
    "TwoMoons",
    "WBFHiggs",
    "named",
    "names",
    "onnx_generator",
]

_SIMULATORS = {
    "arm": "arm.Arm",
    "circle": "sphere.GaussianCircle",
    "conditional-faces": "faces.ConditionalFaces",
    "conditional-sphere": "sphere.ConditionalSphere",
    "faces": "faces.Faces",
    "lorenz": "lorenz.Lorenz",
    "polynomial-surface": "polynomial_surface.PolynomialSurface",
    "redundant-observables": "redundant.RedundantObservables",
    "s-curve": "rolled.SCurve",
    "slcp": "slcp.SLCP",
    "slcp-distractors": "slcp.SLCPDistractors",
    "sphere": "sphere.GaussianSphere",
    "spiral": "rolled.Spiral",
    "swiss-roll": "rolled.SwissRoll",
    "two-moons": "two_moons.TwoMoons",
    "wbf-higgs": "physics.wbf_higgs.WBFHiggs",
}
"""Name -> file and class, which is called without arguments."""

_READ: dict[type, tuple[type, str]] = {
    int: (int, "[0-9]+"),
    float: (float, r"[0-9]*\.?[0-9]+(e-?[0-9]+)?"),
}
"""How numbers of settings are read, and what they look like."""
_ONNX = "generated.onnx_generator"
_HOMES = {kind: home for home, _, kind in (path.rpartition(".") for path in _SIMULATORS.values())}
_HOMES |= {"GeneratorManifold": "generated", "onnx_generator": "generated"}


def names() -> tuple[str, ...]:
    """List the names that `named` knows."""
    return tuple(sorted(_SIMULATORS))


def named(name: str) -> Any:
    """Return the simulator or generator called ``name``, with settings.

    As in ``wbf-higgs+hadrons`` or ``arm+joints=4+size=64``: arguments of its class that are to be
    true, or numbers. A path that ends with ``.onnx`` is that of a generator,
    ``faces.onnx+latent_dim=4+signed``: see `onnx_generator`.

    Raises:
        ValueError: If there is none of this name, or no such setting.
    """
    path, onnx, after = name.rpartition(".onnx")
    (name, *settings) = (path + onnx, *after.split("+")[1:]) if onnx else name.split("+")
    if not onnx and name not in _SIMULATORS:
        raise ValueError(
            f"Expected a simulator out of: {', '.join(names())}, or a file that ends with .onnx; "
            f"got {name!r}."
        )
    home, _, kind = (_ONNX if onnx else _SIMULATORS[name]).rpartition(".")
    simulator = getattr(import_module(f"mflows.simulators.{home}"), kind)
    defaults = {each.name: each.default for each in signature(simulator).parameters.values()}
    known = {
        setting: f"{setting}=NUMBER" if type(default) in _READ else setting
        for setting, default in defaults.items()
        if type(default) in _READ or default is False
    }
    chosen = {}
    for asked in settings:
        setting, equals, number = asked.partition("=")
        read, form = _READ.get(type(defaults.get(setting)), (bool, ""))
        if setting not in known or not re.fullmatch(form, number) or bool(equals) != bool(form):
            there = f"out of {', '.join(known.values())}" if known else "to be none"
            raise ValueError(f"Expected settings of {name!r} {there}; got {asked!r}.")
        chosen[setting] = read(number) if equals else True
    return simulator(*[name] if onnx else [], **chosen)


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module 'mflows.simulators' has no attribute {name!r}")
    home = import_module(f"mflows.simulators.{_HOMES.get(name, 'simulator')}")
    return getattr(home, name)
