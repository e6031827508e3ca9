"""What a run is asked to do, checked before anything is written."""

import inspect
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import jax.random as jr

from mflows import models
from mflows.data import STREAM_FORMATS, Data, Stream, check_latent_dim
from mflows.flow import Flow
from mflows.training import Alternate, Phase, recipes

RECIPES: dict[str, Callable[..., Sequence[Phase | Alternate]]] = {
    "manifold-then-density": recipes.manifold_then_density,
    "alternating": recipes.alternating,
    "simultaneous": recipes.simultaneous,
    "scandal": recipes.scandal,
    "optimal-transport": recipes.optimal_transport,
    "alternating-optimal-transport": recipes.alternating_optimal_transport,
    "maximum-likelihood": recipes.maximum_likelihood,
    "rectangular": recipes.rectangular,
    "canonical": recipes.canonical,
    "free-form": recipes.free_form,
    "denoising": recipes.denoising,
    "relaxed-injective": recipes.relaxed_injective,
    "variational": recipes.variational,
    "adversarial": recipes.adversarial,
}


PRECISIONS = ("float32", "float64")
LARGE = 1 << 30
"""Size of a file, in bytes, from which it is streamed unless asked otherwise."""


class Model(NamedTuple):
    """A system by its name: how to build it and which recipes train it, the default first."""

    build: Callable[..., Flow]
    recipes: tuple[str, ...]


MODELS = {
    "m-flow": Model(
        models.m_flow,
        (
            "manifold-then-density",
            "alternating",
            "simultaneous",
            "scandal",
            "rectangular",
            "canonical",
            "optimal-transport",
            "alternating-optimal-transport",
            "maximum-likelihood",
        ),
    ),
    "me-flow": Model(
        models.me_flow,
        ("manifold-then-density", "alternating", "simultaneous", "scandal", "free-form"),
    ),
    "pae": Model(models.pae, ("manifold-then-density", "alternating", "free-form")),
    "ripf": Model(models.ripf, ("relaxed-injective",)),
    "vae": Model(models.vae, ("variational",)),
    "gan": Model(models.gan, ("adversarial",)),
    "pie": Model(models.pie, ("maximum-likelihood",)),
    "af": Model(models.ambient_flow, ("maximum-likelihood", "denoising")),
    "fom": Model(models.fom, ("maximum-likelihood",)),
}


def check_model(name: str) -> Model:
    """Return the model called ``name``; ``ValueError`` lists those there are."""
    if name in MODELS:
        return MODELS[name]
    raise ValueError(f"Expected a model out of {', '.join(MODELS)}; got {name!r}.")


class System(NamedTuple):
    """A row of a comparison: a model, how it is trained, and settings of its builder."""

    model: str
    recipe: str | None
    settings: dict[str, bool]


def check_system(name: str) -> System:
    """The system called ``MODEL[+SETTING ...][:RECIPE]``, as in ``pie+conditional_chart``.

    Every SETTING is an argument of the model's builder that is to be true.

    Raises:
        ValueError: If model, setting or recipe are unknown.
    """
    whole, colon, recipe = name.partition(":")
    model, *switched_on = whole.split("+")
    check_model(model)
    if colon:
        _check_recipe(model, recipe)
    settings = dict.fromkeys(switched_on, True)
    _check_settings(model, settings)
    return System(model, recipe or None, settings)


def _check_recipe(model: str, recipe: str) -> None:
    there = check_model(model).recipes
    if recipe not in there:
        raise ValueError(
            f"Expected a recipe of {model!r} out of {', '.join(there)}; got {recipe!r}."
        )


def _check_settings(model: str, settings: Mapping[str, Any]) -> None:
    """Check names and types against the arguments of the model's builder."""
    _check_arguments(f"settings of {model!r}", check_model(model).build, settings)
    for name, value in settings.items():
        if type(value) in (int, float) and not value > 0:
            raise ValueError(f"Expected {name} > 0; got {value}.")


def _check_recipe_settings(recipe: str, settings: Mapping[str, Any]) -> None:
    """Check names and types against the arguments that are the recipe's own."""
    named = ("batch_size", "learning_rate")  # fields of the config
    _check_arguments(f"settings of the recipe {recipe!r}", RECIPES[recipe], settings, named)
    for name, value in settings.items():
        if type(value) in (int, float) and not value >= 0:
            raise ValueError(f"Expected {name} >= 0; got {value}.")


def _check_arguments(
    what: str, function: Callable, settings: Mapping[str, Any], besides: Sequence[str] = ()
) -> None:
    known = {
        name: parameter.annotation
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in besides
    }
    for name, value in settings.items():
        if name not in known:
            there = f"out of {', '.join(known)}" if known else "to be none"
            raise ValueError(f"Expected {what} {there}; got {name!r}.")
        kinds = get_args(known[name]) or (known[name],)  # int | None is two kinds
        if type(value) not in kinds and not (float in kinds and type(value) is int):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"Expected {name} to be of type {names}; got {value!r}.")


class Setup(NamedTuple):
    """All that ``mflows.fit`` wants besides the data."""

    flow: Flow
    phases: list[Phase | Alternate]
    key: jax.Array


@dataclass(frozen=True)
class Config:
    """What a run is asked to do: the content of ``config.json``.

    Args:
        data: Path of the table to fit.
        latent_dim: Dimension n of the manifold; none for an ambient flow or a
            prescribed manifold.
        model: A name out of ``MODELS``, such as ``"m-flow"``.
        recipe: How to train; ``None`` is the model's own.
        settings: Further arguments of the model's builder in ``mflows.models``.
        recipe_settings: Further arguments of the recipe in ``mflows.recipes``.
        condition: Names of the columns that are the condition theta.
        drop_constant: Leave out columns that hold one value only.
        epochs: Passes over the data, shared by the phases; ``None`` is enough.
        batch_size: Points per step; ``None`` is the recipe's own.
        learning_rate: Learning rate; each phase of ``mflows.recipes`` scales it.
        validation_fraction: Part of the rows held out, for the choice of the best epoch.
        seed: Seed of the split, the initial weights and the order of points.
        precision: ``"float32"`` or ``"float64"``; ``None`` is what JAX is set to.
        simulator: Name of the simulator that made the data, if its truth is known.
        stream: Leave the data in their file and read them block by block; ``None`` does so for
            files from ``LARGE`` bytes on whose format allows it.

    Raises:
        ValueError: If model, recipe or numbers make no sense.
    """

    data: str
    latent_dim: int | None = None
    model: str = "m-flow"
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    recipe_settings: Mapping[str, Any] = field(default_factory=dict)
    condition: tuple[str, ...] = ()
    drop_constant: bool = False
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 1e-3
    validation_fraction: float = 0.1
    seed: int = 0
    precision: str | None = None
    simulator: str | None = None
    stream: bool | None = None

    def __post_init__(self):
        check_model(self.model)
        if self.recipe is not None:
            _check_recipe(self.model, self.recipe)
        _check_settings(self.model, self.settings)
        _check_recipe_settings(self._recipe, self.recipe_settings)
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"Expected {name} >= {least}; got {value}.")
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(
                f"Expected precision out of {', '.join(PRECISIONS)}; got {self.precision!r}."
            )
        if not self.learning_rate > 0:
            raise ValueError(f"Expected learning_rate > 0; got {self.learning_rate}.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"Expected validation_fraction between 0 and 1; got {self.validation_fraction}."
            )

    @property
    def _recipe(self) -> str:
        """The recipe, or the model's own."""
        return self.recipe or check_model(self.model).recipes[0]

    @property
    def streamed(self) -> bool:
        """Whether the data stay in their file."""
        if self.stream is not None:
            return self.stream
        path = Path(self.data)
        possible = path.suffix.lower() in STREAM_FORMATS and path.is_file()
        return possible and path.stat().st_size >= LARGE

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """The config with these values; other keys are left alone."""
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        return cls(**{**known, "condition": tuple(known.get("condition", ()))})

    def as_dict(self) -> dict[str, Any]:
        """The config as plain values, equal after a round trip through JSON."""
        return json.loads(json.dumps(asdict(self)))

    def resolved(self, points: int) -> "Config":
        """The config with every default filled in, given the number of training points."""
        recipe = self._recipe
        own = inspect.signature(RECIPES[recipe]).parameters["batch_size"].default
        size = self.batch_size or own
        epochs = self.epochs or recipes.epochs_for(points, size)
        now = jnp.zeros(()).dtype.name
        if self.precision not in (None, now):
            raise ValueError(
                f"Expected JAX to compute in {self.precision}; it computes in {now}. Call "
                'jax.config.update("jax_enable_x64", ...) before anything else.'
            )
        return replace(
            self,
            recipe=recipe,
            batch_size=size,
            epochs=epochs,
            precision=now,
            stream=self.streamed,
        )

    def setup(self, data: Data | Stream) -> Setup:
        """The untrained flow, the phases and the key, for a resolved config.

        Raises:
            ValueError: If a setting does not fit the data.
        """
        arguments = {"shape": data.shape, "cond_shape": data.cond_shape, **self.settings}
        parameters = inspect.signature(check_model(self.model).build).parameters
        if "latent_dim" in parameters:
            if self.latent_dim is None:
                raise ValueError(
                    f"Expected a latent dimension for the model {self.model!r}, the dimension of "
                    "the manifold (--latent-dim on the command line); got none."
                )
            arguments["latent_dim"] = check_latent_dim(data, self.latent_dim)
            if self.model == "m-flow" and self.recipe == "maximum-likelihood":
                warnings.warn(
                    "Maximum likelihood does not determine a learned manifold: it may leave the "
                    "data while the likelihood rises. Read the reconstruction error, or take "
                    "another recipe.",
                    stacklevel=2,
                )
        for name, parameter in parameters.items():
            needed = parameter.kind is parameter.KEYWORD_ONLY
            if needed and parameter.default is parameter.empty and name not in self.settings:
                raise ValueError(
                    f"Expected the setting {name!r} of the model {self.model!r} (--set {name}=... "
                    "on the command line); got none."
                )
        model_key, key = jr.split(jr.key(self.seed))
        flow = check_model(self.model).build(model_key, **arguments)
        if "latent_dim" not in parameters and self.latent_dim not in (None, flow.latent_dim):
            where = "all of space" if (flow.latent_dim,) == flow.shape else "a manifold it knows"
            raise ValueError(
                f"Expected no latent dimension for the model {self.model!r}, whose density is on "
                f"{where}; got {self.latent_dim}. Did you mean --model m-flow?"
            )
        if self.recipe == "scandal" and not data.scored:
            raise ValueError(
                "Expected an array joint_score, of the shape of the condition, in the data for the "
                "recipe 'scandal'; got none. Without it, take 'manifold-then-density'."
            )
        return Setup(flow, self.phases(), key)

    def phases(self) -> list[Phase | Alternate]:
        """The phases of a resolved config, without building anything.

        Raises:
            ValueError: If a setting makes no sense to the recipe.
        """
        phases = RECIPES[str(self.recipe)](
            self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            **self.recipe_settings,
        )
        return [*phases]
