"""What a run is asked to do, checked before anything is written."""

import difflib
import inspect
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows import systems
from mflows.data import STREAM_FORMATS, Data, check_latent_dim
from mflows.data.checks import check_size
from mflows.flow import Flow
from mflows.models.building import directions
from mflows.training import recipes
from mflows.training.phases import Group, phases_of
from mflows.training.recipes.phases import TOLERANCE
from mflows.training.rows import check_within

PRECISIONS = ("float32", "float64")
LARGE = 1 << 30
"""Size of a file, in bytes, from which it is streamed unless asked otherwise."""


def check_keys(what: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise ``ValueError`` for keys that are not known; suggest the closest."""
    for name in values:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known are {', '.join(known)}."
            raise ValueError(f"Expected keys of a {what}; got {name!r}.{hint}")


class Setup(NamedTuple):
    """All that ``mflows.fit`` wants besides the data."""

    flow: Flow
    phases: list[Group]
    key: jax.Array


@dataclass(frozen=True)
class Config:
    """What a run is asked to do: the content of ``config.json``.

    Args:
        data: Path of the table or of the folder of pictures to fit.
        latent_dim: Dimension n of the manifold; none for an ambient flow or a
            prescribed manifold.
        model: Name of a system of ``mflows.systems``, such as ``"m-flow"``.
        recipe: How to train; ``None`` is the model's own.
        settings: Further arguments of the model's builder in ``mflows.models``.
        recipe_settings: Further arguments of the recipe in ``mflows.recipes``.
        condition: Names of the columns that are the condition theta.
        weight: Name of the column or array of weights, by which rows count; ``None`` counts all
            alike.
        drop_constant: Leave out columns that hold one value only.
        epochs: Passes over the data, shared by the phases; ``None`` is enough, and no more than the
            loss needs to settle where the recipe has a tolerance.
        batch_size: Points per step; ``None`` is the recipe's own.
        learning_rate: Learning rate; each phase of ``mflows.recipes`` scales it.
        validation_fraction: Part of the rows held out, for the choice of the best epoch.
        seed: Seed of the split, the initial weights and the order of points.
        precision: ``"float32"`` or ``"float64"``; ``None`` is what JAX is set to.
        simulator: Name of the simulator that made the data, if its truth is known.
        stream: Leave the data in their file and read them block by block; ``None`` does so for
            files from ``LARGE`` bytes on whose format allows it.
        size: Height and width of the pictures of a folder, as for ``mflows.data.load``.
        dequantise: Spread the 8-bit levels of pictures uniformly over their intervals.
        flips: Train on the mirror images of pictures, too.

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
    weight: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 1e-3
    validation_fraction: float = 0.1
    seed: int = 0
    precision: str | None = None
    simulator: str | None = None
    stream: bool | None = None
    size: int | None = None
    dequantise: bool = False
    flips: bool = False

    def __post_init__(self):
        for each in fields(self):
            if isinstance(value := getattr(self, each.name), np.generic):
                object.__setattr__(self, each.name, value.item())
            systems.check_type(each.name, getattr(self, each.name), each.type)
        if not all(isinstance(name, str) for name in self.condition):
            raise ValueError(f"Expected names of columns as condition; got {self.condition}.")
        if self.recipe is not None:
            self.system.check_recipe(self.recipe)
        self.system.check_settings(self.settings)
        systems.check_recipe_settings(self._recipe, self.recipe_settings)
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"Expected {name} >= {least}; got {value}.")
        check_size(self.size)
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(
                f"Expected precision out of {', '.join(PRECISIONS)}; got {self.precision!r}."
            )
        if not self.learning_rate > 0:
            raise ValueError(f"Expected learning_rate > 0; got {self.learning_rate}.")
        if math.isinf(self.learning_rate):
            raise ValueError("Expected a finite learning_rate; got inf.")
        for name in ("seed", "epochs", "batch_size", "latent_dim"):
            if (getattr(self, name) or 0) >= 1 << 63:
                raise ValueError(f"Expected {name} < 2^63; got {getattr(self, name)}.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"Expected validation_fraction between 0 and 1; got {self.validation_fraction}."
            )

    @property
    def system(self) -> systems.System:
        """The row of the model in the table of systems."""
        return systems.system(self.model)

    @property
    def _recipe(self) -> str:
        """The recipe, or the model's own."""
        return self.recipe or self.system.recipes[0]

    @property
    def likelihood(self) -> Path | None:
        """The folder of the likelihood through which a density of theta sees x."""
        folder = self.settings.get("likelihood") if self.system.of == "theta" else None
        return None if folder is None else Path(folder)

    def in_full(self) -> "Config":
        """The config with paths that hold in every working directory."""
        settings = dict(self.settings)
        if self.likelihood is not None:
            settings["likelihood"] = str(self.likelihood.resolve())
        return replace(self, data=str(Path(self.data).resolve()), settings=settings)

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
        """The config with these values.

        Raises:
            ValueError: If a key is not one of a config, or a value makes no sense.
        """
        check_keys("config", values, [f.name for f in fields(cls)])
        condition = values.get("condition", ())
        if not isinstance(condition, list | tuple):
            raise ValueError(f"Expected condition to be a list of names; got {condition!r}.")
        given: dict[str, Any] = {**values, "condition": tuple(condition)}
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """The config as plain values, equal after a round trip through JSON."""
        return json.loads(json.dumps(asdict(self)))

    def resolved(self, points: int, data: Data | None = None) -> "Config":
        """The config with every default filled in, given the number of training points.

        With ``data``, the training of a large flow is not made longer than ``MOST_WORK``, and a
        warning says so.
        """
        recipe = self._recipe
        given = inspect.signature(systems.recipe(recipe)).parameters
        own = given["batch_size"].default
        size = self.batch_size or own
        settings = self.recipe_settings
        if self.epochs is None and "tolerance" in given:
            settings = {"tolerance": TOLERANCE, **settings}
        patient = bool(settings.get("tolerance"))
        epochs = self.epochs or recipes.epochs_for(points, size, patient=patient)
        if self.epochs is None and data is not None:
            if self.likelihood is None:
                flow = eqx.filter_eval_shape(self._built, data)
            else:  # what is loaded is numbers, not shapes
                flow = self._built(data)
            parameters = sum(getattr(leaf, "size", 0) for leaf in jax.tree.leaves(flow))
            enough = recipes.epochs_for(points, size)
            epochs = recipes.epochs_for(points, size, parameters, patient=patient)
            if epochs < enough:
                warnings.warn(
                    f"The flow has {parameters:,} parameters, and a step takes a while: it trains "
                    f"for at most {epochs} epochs, not {enough}. Ask for more (--epochs on the "
                    "command line) if the loss has not settled by then.",
                    stacklevel=2,
                )
        now = jnp.zeros(()).dtype.name
        if self.precision not in (None, now):
            raise ValueError(
                f"Expected JAX to compute in {self.precision}; it computes in {now}. Call "
                'jax.config.update("jax_enable_x64", ...) before anything else.'
            )
        return replace(
            self,
            recipe=recipe,
            recipe_settings=settings,
            batch_size=size,
            epochs=epochs,
            precision=now,
            stream=self.streamed,
        )

    def setup(self, data: Data) -> Setup:
        """The untrained flow, the phases and the key, for a resolved config.

        Raises:
            ValueError: If a setting does not fit the data.
            DataError: If there are parameters beyond the bounds of their prior.
        """
        system, flow = self.system, self._built(data)
        if system.manifold == "learned" and self.recipe == "maximum-likelihood":
            warnings.warn(
                "Maximum likelihood does not determine a learned manifold: it may leave the data "
                "while the likelihood rises. Read the reconstruction error, or take another "
                "recipe.",
                stacklevel=2,
            )
        if not system.takes_latent_dim and self.latent_dim not in (None, flow.latent_dim):
            where = "all of space" if system.manifold == "none" else "a manifold it knows"
            raise ValueError(
                f"Expected no latent dimension for the model {self.model!r}, whose density is on "
                f"{where}; got {self.latent_dim}. Did you mean --model m-flow?"
            )
        check_within(flow, data)
        phases = self.phases()
        objectives = [phase.objective for group in phases for phase in phases_of(group)]
        needed = any(getattr(each, "needs_joint_score", False) for each in objectives)
        if needed and not data.scored:
            raise ValueError(
                "Expected an array joint_score, of the shape of the condition, in the data for the "
                f"recipe {self.recipe!r}; got none. Without it, take 'manifold-then-density'."
            )
        return Setup(flow, phases, self._keys[1])

    def _built(self, data: Data) -> Flow:
        """The untrained flow."""
        system = self.system
        arguments = {"shape": data.shape, "cond_shape": data.cond_shape, **self.settings}
        if system.takes_latent_dim:
            if self.latent_dim is None:
                raise ValueError(
                    f"Expected a latent dimension for the model {self.model!r}, the dimension of "
                    "the manifold (--latent-dim on the command line); got none."
                )
            arguments["latent_dim"] = check_latent_dim(data, self.latent_dim)
        network, n = str(arguments.get("network", "dense")), self.latent_dim
        if "rank" in system.settings and (n is not None or network == "dense"):
            bent = directions(network, data.shape, n or 0)
            if n is not None:  # no more than those in which points differ
                bent = min(bent, max(len(data) * (1 + self.flips) - 1, n + 1))
            if bent < math.prod(data.shape):
                arguments.setdefault("rank", bent)
        for name, parameter in system.settings.items():
            if parameter.default is parameter.empty and name not in self.settings:
                raise ValueError(
                    f"Expected the setting {name!r} of the model {self.model!r} (--set {name}=... "
                    "on the command line); got none."
                )
        return system.build(self._keys[0], **arguments)

    @property
    def _keys(self) -> PRNGKeyArray:
        """Of the weights, and of training."""
        return jr.split(jr.key(self.seed))

    def phases(self) -> list[Group]:
        """The phases of a resolved config, without building anything.

        Raises:
            ValueError: If a setting makes no sense to the recipe.
        """
        phases = systems.recipe(str(self.recipe))(
            self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            **self.recipe_settings,
        )
        return [*phases]
