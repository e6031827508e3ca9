"""The plan of a sweep: a config, what of it is searched, and by which number it is judged.

Ranges and choices are Optuna's distributions. A plan is checked when it is made, at both ends of
every range and at every choice; what the data have to say is checked by ``ready``, still before
anything is written.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from mflows.runs import Config
from mflows.runs.run import read_data
from mflows.runs.source import Source, parts_of
from mflows.sweeps.objectives import Comparable, check_objective, comparable, objective_of

Value = bool | int | float | str
Space = IntDistribution | FloatDistribution | CategoricalDistribution

FIELDS = {
    "learning_rate": (float, int),
    "batch_size": (int,),
    "epochs": (int,),
    "latent_dim": (int,),
    "recipe": (str,),
}
"""Fields of the config that can be searched, and the types of their values.

Not those that say which rows are held out, since trials could not be compared any more.
"""
PLACES = {"set": "settings", "recipe-set": "recipe_settings"}


def Range(low: float, high: float, log: bool = False) -> IntDistribution | FloatDistribution:
    """All numbers from ``low`` to ``high``: whole ones if both ends are whole numbers.

    Args:
        low: Least value.
        high: Greatest value.
        log: Search the logarithm evenly; for positive numbers.

    Raises:
        ValueError: If the ends are in the wrong order, or have no logarithm.
    """
    if not low < high:
        raise ValueError(f"Expected a range from low to high; got {low}..{high}.")
    if log and not low > 0:
        raise ValueError(f"Expected a range above 0 for its logarithm; got {low}.")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def Choice(values: Sequence[Value]) -> CategoricalDistribution:
    """One of some values.

    Raises:
        ValueError: If there are fewer than two, or one comes twice.
    """
    if len(values) < 2 or len(set(values)) < len(values):
        got = "|".join(map(str, values))
        raise ValueError(f"Expected two or more different values to choose from; got {got}.")
    return CategoricalDistribution(values)


def ends(space: Space) -> tuple[Value, ...]:
    """The values to check: if both ends of a range are allowed, so is what lies between."""
    if isinstance(space, CategoricalDistribution):
        return tuple(v for v in space.choices if v is not None)
    return (space.low, space.high)


def written(space: Space) -> str:
    """What is searched, as the command line has it: ``a..b``, ``a..b:log`` or ``a|b|c``."""
    if isinstance(space, CategoricalDistribution):
        return "|".join(map(str, space.choices))
    return f"{space.low}..{space.high}{':log' if space.log else ''}"


@dataclass(frozen=True)
class Plan:
    """What a sweep is asked to do: the content of ``sweep.json``.

    Args:
        config: What all runs have in common.
        search: What is searched, by name: a field of the config (``learning_rate``,
            ``batch_size``, ``epochs``, ``latent_dim``, ``recipe``), a setting of the model
            (``set.width``) or of the recipe (``recipe-set.patience``).
        objective: A name out of ``OBJECTIVES``; ``None`` is the one that suits the model.
        prune: Stop a trial early whose validation loss is worse than the median of the others.
        storage: Where Optuna keeps the trials: ``None`` is an SQLite file in the sweep's folder; a
            path that ends in .log is a journal file, which network disks bear better; any other
            path is an SQLite file, and a URL is what SQLAlchemy makes of it. A mere name lies in
            the sweep's folder.

    Raises:
        ValueError: If a name is unknown, an end of a range is not allowed, or the objective does
            not mean the same in all trials.
    """

    config: Config
    search: Mapping[str, Space]
    objective: str | None = None
    prune: bool = True
    storage: str | None = None

    def __post_init__(self):
        if not self.search:
            raise ValueError("Expected at least one thing to search; got none.")
        model = self.config.model
        if self.objective is None:
            object.__setattr__(self, "objective", objective_of(model))
        for name, space in self.search.items():
            self._check_name(name, space)
        check_objective(str(self.objective), model, set(self.search))
        for _ in self.corners():
            pass  # a Config checks itself

    def _check_name(self, name: str, space: Space) -> None:
        if name in FIELDS:
            for value in ends(space):
                if type(value) not in FIELDS[name]:
                    kind = FIELDS[name][0].__name__
                    raise ValueError(f"Expected {name} to be of type {kind}; got {value!r}.")
            return
        place, dot, setting = name.partition(".")
        if place not in PLACES or not dot:
            raise ValueError(
                f"Expected to search {', '.join(FIELDS)}, set.NAME or recipe-set.NAME; got "
                f"{name!r}."
            )
        if setting in getattr(self.config, PLACES[place]):
            raise ValueError(f"Expected {setting} to be set or to be searched; got both.")

    def at(self, values: Mapping[str, Value]) -> Config:
        """The config of one trial."""
        changes: dict[str, Any] = {
            name: dict(getattr(self.config, name)) for name in PLACES.values()
        }
        for name, value in values.items():
            place, dot, setting = name.partition(".")
            if dot:
                changes[PLACES[place]][setting] = value
            else:
                changes[name] = value
        return replace(self.config, **changes)

    def corners(self) -> Iterator[tuple[str, Config]]:
        """Every searched name with a config at each of its ends, for each recipe."""
        first = {name: ends(space)[0] for name, space in self.search.items()}
        recipes = ends(self.search["recipe"]) if "recipe" in self.search else (None,)
        for recipe in recipes:
            of_recipe = {} if recipe is None else {"recipe": recipe}
            for name, space in self.search.items():
                for end in ends(space):
                    yield name, self.at({**first, **of_recipe, name: end})

    def ready(self) -> "Ready":
        """Read the data and check all that needs them, for each end of each range.

        Raises:
            DataError: If the data cannot be loaded or used.
            ValueError: If a value does not fit the data.
        """
        data, source = read_data(self.config)
        points = len(parts_of(self.config, data).kept)
        corners = [(name, config.resolved(points)) for name, config in self.corners()]
        built = [c for name, c in corners if name.startswith("set.") or name == "latent_dim"]
        for config in (*built, corners[0][1]):
            config.setup(data)
        phases = [config.phases() for _, config in corners]
        now = corners[0][1].precision
        config = replace(self.config.in_full(), precision=now)
        storage = self.storage
        if storage is not None and "://" not in storage and Path(storage).name != storage:
            storage = str(Path(storage).resolve())
        plan = replace(self, config=config, storage=storage)
        return Ready(plan, source, comparable(str(self.objective), phases))

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values, equal after a round trip through JSON."""
        plain = {
            "config": self.config.as_dict(),
            "search": {name: _as_plain(space) for name, space in self.search.items()},
            "objective": self.objective,
            "prune": self.prune,
            "storage": self.storage,
        }
        return json.loads(json.dumps(plain))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """The plan with these values."""
        search = {
            name: Choice(plain) if isinstance(plain, list) else Range(**plain)
            for name, plain in values["search"].items()
        }
        config = Config.from_dict(values["config"])
        return cls(config, search, values["objective"], values["prune"], values["storage"])


@dataclass(frozen=True)
class Ready:
    """A plan that was found to fit its data.

    Attributes:
        plan: With paths and precision in full.
        source: The data.
        comparable: By which validation losses trials are pruned.
    """

    plan: Plan
    source: Source
    comparable: Comparable


def _as_plain(space: Space) -> Any:
    """What stands for it in ``sweep.json``; plainer than Optuna's own JSON, for people to read."""
    if isinstance(space, CategoricalDistribution):
        return list(space.choices)
    return {"low": space.low, "high": space.high, "log": space.log}
