r"""The table of systems: what each of them is called, how it is built and what trains it.

A system is a chart, a latent density and a recipe. One row says all that the command line, runs,
reports, sweeps and the estimator have to know of it:

    from mflows import systems
    systems.SYSTEMS["m-flow"].build(key, shape, latent_dim=2)
    systems.parse("pie+conditional_chart:maximum-likelihood")

A system of one's own is one more row, ``systems.register(System(...))``. Builders and recipes are
imported when they are asked for, so that the table itself, from which ``mflows fit --help`` is
written, needs no JAX.
"""

import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

if TYPE_CHECKING:
    from mflows.flow import Flow

RECIPES: "dict[str, Callable[..., Any]]"
"""Recipes by name: the functions of ``mflows.recipes``, with dashes for underscores."""


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes:
        name: What it is called in commands and configs.
        title: What it is called in headings.
        summary: Manifold and density, in words.
        builder: Function ``(key, shape, [latent_dim,] cond_shape=None, *, ...settings) -> Flow``,
            or its name in ``mflows.models``.
        manifold: Whether there is a manifold, and whether it is learned.
        density: With respect to what volume it has a density.
        recipes: Names of the recipes that train it, the default first.
        of: What it is a density of, given the other one: x, or the parameters theta.
    """

    name: str
    title: str
    summary: str
    builder: "Callable[..., Flow] | str"
    manifold: Literal["learned", "prescribed", "none"]
    density: Literal["on the manifold", "in space", "none"]
    recipes: tuple[str, ...]
    of: Literal["x", "theta"] = "x"

    @property
    def build(self) -> "Callable[..., Flow]":
        """The function that builds the flow."""
        if not isinstance(self.builder, str):
            return self.builder
        from mflows import models

        return getattr(models, self.builder)

    @property
    def takes_latent_dim(self) -> bool:
        """Whether the dimension of the manifold is to be chosen."""
        return "latent_dim" in inspect.signature(self.build).parameters

    @property
    def settings(self) -> dict[str, inspect.Parameter]:
        """Further arguments of the builder, by name."""
        return _keywords(self.build)

    def check_recipe(self, name: str) -> None:
        """Raise ``ValueError`` unless the recipe trains this system."""
        if name not in self.recipes:
            raise ValueError(
                f"Expected a recipe of {self.name!r} out of {', '.join(self.recipes)}; got "
                f"{name!r}."
            )

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` unless the builder takes arguments of these names and types.

        Numbers are positive, but for those that may be a list, such as bounds.
        """
        known = self.settings
        _check(f"settings of {self.name!r}", known, settings)
        for name, value in settings.items():
            signed = list in get_args(known[name].annotation)
            if type(value) in (int, float) and not (signed or 0 < value < math.inf):
                raise ValueError(f"Expected {name} > 0 and finite; got {value}.")


def posterior_of_run(
    key,
    shape: tuple[int, ...],
    cond_shape: tuple[int, ...] | None = None,
    *,
    likelihood: str,
    low: float | list | None = None,
    high: float | list | None = None,
    layers: int = 3,
    bins: int = 10,
    interval: float = 6.0,
    width: int = 64,
    blocks: int = 1,
) -> "Flow":
    """The ``mflows.models.posterior_flow`` of a likelihood that ``mflows fit`` or ``save`` wrote.

    Once built, it needs the likelihood's folder no more.

    Args:
        key: Random key for the initial weights.
        shape: Shape (k,) of the parameters theta.
        cond_shape: Shape (D,) of the points x, flattened.
        likelihood: The folder.
        low: Lower bounds of theta, or one for all; ``None`` for a prior without bounds.
        high: Upper bounds.
        layers: As for ``posterior_flow``, and so the rest.
        bins: Number of spline bins.
        interval: Half width of the splines' interval.
        width: Width of the conditioner networks.
        blocks: Number of their residual blocks.

    Raises:
        ValueError: If there is no flow in the folder, no ``posterior_flow`` of it, or if it has
            points or parameters of other sizes.
    """
    from mflows.models import posterior_flow
    from mflows.saving import load

    known = load(likelihood)
    flow = posterior_flow(
        key,
        known,
        low=low,
        high=high,
        layers=layers,
        bins=bins,
        interval=interval,
        width=width,
        blocks=blocks,
    )
    if (flow.shape, flow.cond_shape) != (shape, cond_shape):
        raise ValueError(
            f"Expected theta and x of shapes {flow.shape} and {flow.cond_shape}, which the "
            f"likelihood in {likelihood} has; got {shape} and {cond_shape}."
        )
    return flow


MANIFOLD_AND_DENSITY = ("manifold-then-density", "alternating", "simultaneous", "scandal")

_ROWS = (
    System(
        "m-flow",
        "M-flow",
        "learned manifold, exact encoder and density",
        "m_flow",
        "learned",
        "on the manifold",
        (
            *MANIFOLD_AND_DENSITY,
            "rectangular",
            "canonical",
            "optimal-transport",
            "alternating-optimal-transport",
            "maximum-likelihood",
        ),
    ),
    System(
        "me-flow",
        "M_e-flow",
        "learned manifold, encoder network, exact density",
        "me_flow",
        "learned",
        "on the manifold",
        (*MANIFOLD_AND_DENSITY, "free-form"),
    ),
    System(
        "pae",
        "Probabilistic autoencoder",
        "learned manifold, free networks, exact density",
        "pae",
        "learned",
        "on the manifold",
        ("manifold-then-density", "alternating", "scandal", "free-form"),
    ),
    System(
        "ripf",
        "Relaxed injective flow",
        "learned manifold, free networks, trained on a bound of the likelihood",
        "ripf",
        "learned",
        "on the manifold",
        ("relaxed-injective",),
    ),
    System(
        "vae",
        "Variational autoencoder",
        "learned manifold, free networks, bounds of the density",
        "vae",
        "learned",
        "none",
        ("variational",),
    ),
    System(
        "gan",
        "Generative adversarial network",
        "learned manifold, no encoder, exact density",
        "gan",
        "learned",
        "on the manifold",
        ("adversarial",),
    ),
    System(
        "pie",
        "Pseudo-invertible encoder",
        "density in space, thin across a sheet",
        "pie",
        "none",
        "in space",
        ("maximum-likelihood", "scandal-likelihood"),
    ),
    System(
        "af",
        "Ambient flow",
        "density in space, no manifold",
        "ambient_flow",
        "none",
        "in space",
        ("maximum-likelihood", "scandal-likelihood", "denoising"),
    ),
    System(
        "fom",
        "Prescribed manifold",
        "known manifold (circle, sphere, torus), exact density on it",
        "fom",
        "prescribed",
        "on the manifold",
        ("maximum-likelihood",),
    ),
    System(
        "posterior-flow",
        "Posterior flow",
        "density of theta given x, seen through a trained likelihood (--set likelihood=RUN)",
        posterior_of_run,
        "none",
        "in space",
        ("maximum-likelihood",),
        of="theta",
    ),
)

SYSTEMS: dict[str, System] = {row.name: row for row in _ROWS}
"""The systems by name."""


def system(name: str) -> System:
    """Return the system called ``name``; ``ValueError`` lists those there are."""
    if name not in SYSTEMS:
        raise ValueError(f"Expected a model out of {', '.join(SYSTEMS)}; got {name!r}.")
    return SYSTEMS[name]


def register(system: System) -> None:
    """Add a system to the table, or replace the one of its name.

    Its flows are then trained, saved and loaded by name, in every process that registers it. A
    recipe of one's own is added before, by ``systems.RECIPES["name"] = function``.

    Raises:
        ValueError: If one of its recipes is not known.
    """
    from mflows import models

    for name in system.recipes:
        recipe(name)
    name = system.build.__name__
    if system.build is not getattr(models, name, None):  # else it is there, for old flows too
        models.BUILDERS[name] = system.build
    SYSTEMS[system.name] = system


def recipe(name: str) -> Callable[..., Any]:
    """Return the recipe called ``name``; ``ValueError`` lists those there are."""
    known = __getattr__("RECIPES")
    if name not in known:
        raise ValueError(f"Expected a recipe out of {', '.join(known)}; got {name!r}.")
    return known[name]


def check_recipe_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless the recipe has settings of these names and types."""
    own = _keywords(recipe(name))
    for common in ("batch_size", "learning_rate"):  # fields of a run's config
        own.pop(common, None)
    _check(f"settings of the recipe {name!r}", own, settings)
    for key, value in settings.items():
        if type(value) in (int, float) and not 0 <= value < math.inf:
            raise ValueError(f"Expected {key} >= 0 and finite; got {value}.")


class Chosen(NamedTuple):
    """A system, how it is trained (``None`` is its own recipe), and its settings."""

    system: System
    recipe: str | None
    settings: dict[str, bool]

    @property
    def model(self) -> str:
        """Name of the system."""
        return self.system.name


def parse(text: str) -> Chosen:
    """Read ``SYSTEM[+SETTING ...][:RECIPE]``, as in ``pie+conditional_chart+width=32``.

    Every SETTING is an argument of the system's builder: true, or a number or word after ``=``.

    Raises:
        ValueError: If system, setting or recipe are unknown, or the system is no density of x.
    """
    whole, colon, recipe = text.partition(":")
    name, *asked = whole.split("+")
    chosen = system(name)
    if chosen.of != "x":
        raise ValueError(
            f"Expected a density of x; got {name!r}, one of theta given x. Train it with "
            f"mflows fit --model {name}."
        )
    if colon:
        chosen.check_recipe(recipe)
    settings: dict[str, Any] = {}
    for each in asked:
        setting, equals, value = each.partition("=")
        settings[setting] = _read(value) if equals else True
    chosen.check_settings(settings)
    return Chosen(chosen, recipe or None, settings)


def _read(value: str) -> Any:
    """A number, true or false, or a word."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def __getattr__(name: str):
    if name != "RECIPES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in globals():
        from mflows.training import recipes

        functions = {each.replace("_", "-"): getattr(recipes, each) for each in recipes.__all__}
        globals()[name] = {
            each: function
            for each, function in functions.items()
            if "learning_rate" in _keywords(function)
        }
    return globals()[name]


def _keywords(function: Callable) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a function."""
    parameters = inspect.signature(function).parameters
    return {name: each for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}


def _check(what: str, known: Mapping[str, inspect.Parameter], settings: Mapping[str, Any]) -> None:
    """Raise unless there are settings of these names, and of the types of their annotations."""
    for name, value in settings.items():
        if name not in known:
            there = f"out of {', '.join(known)}" if known else "to be none"
            raise ValueError(f"Expected {what} {there}; got {name!r}.")
        if (annotation := known[name].annotation) is not inspect.Parameter.empty:
            check_type(name, value, annotation)


def check_type(name: str, value: Any, annotation: Any) -> None:
    """Raise ``ValueError`` unless a value is of the type of an annotation; a bool is no number."""
    union = isinstance(annotation, UnionType)
    kinds = [get_origin(kind) or kind for kind in (get_args(annotation) if union else [annotation])]
    numbers = (int,) if float in kinds else ()  # a whole number is a number
    fits = isinstance(value, (*kinds, *numbers))
    if not fits or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise ValueError(f"Expected {name} to be of type {names}; got {value!r}.")
