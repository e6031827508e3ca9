"""The smallest flows and objectives that can be trained: they compile in no time."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import Affine, Chain
from flowjax.distributions import Normal
from paramax import unwrap
from tests.registry import placement

import mflows as mf
from mflows.charts import Pad
from mflows.training import Phase


def line_flow() -> mf.Flow:
    """A line in the plane whose place and direction train, with a normal on it."""
    layers = Chain([Affine(jnp.zeros(2), jnp.ones(2)), placement(2)])
    return mf.Flow(Pad(1, 2).then(layers), Normal(jnp.zeros(1), jnp.ones(1)))


@dataclass(frozen=True)
class Centre:
    """Mean squared distance of the points to the centre of the chart."""

    scale: float = 1.0

    def __call__(self, flow, batch, key):
        centre = unwrap(flow.chart).bijection.bijections[0].loc
        return self.scale * jnp.mean(jnp.square(batch.x - centre))


@dataclass(frozen=True)
class Noisy:
    """The same with noise drawn from the key."""

    def __call__(self, flow, batch, key):
        noise = jax.random.normal(key, batch.x.shape)
        return Centre()(flow, batch._replace(x=batch.x + noise), key)


@dataclass(frozen=True)
class Breaking:
    """The same, but broken as soon as the centre has moved beyond a limit."""

    limit: float
    value: float

    def __call__(self, flow, batch, key):
        centre = unwrap(flow.chart).bijection.bijections[0].loc
        loss = Centre()(flow, batch, key)
        return jnp.where(centre[0] > self.limit, self.value, loss)


@dataclass(frozen=True)
class Contest:
    """A game with its saddle where the centre of the chart is the mean of the data."""

    def opponent(self, key, flow):
        return jax.random.normal(key, flow.shape)

    def __call__(self, flow, batch, key, opponent):
        centre = unwrap(flow.chart).bijection.bijections[0].loc
        gap = batch.x.mean(0) - centre
        return opponent @ gap - 0.5 * opponent @ opponent

    def validate(self, flow, batch, key):
        return Centre()(flow, batch, key)


def centre_of(flow: mf.Flow) -> np.ndarray:
    return np.asarray(flow.chart.bijection.bijections[0].loc)


def points(centre: float, count: int = 40, seed: int = 0) -> np.ndarray:
    return centre + 0.1 * np.random.default_rng(seed).normal(size=(count, 2))


def moving(epochs: int, **settings) -> Phase:
    """A phase that moves the centre by about a tenth per step at first."""
    settings = {"objective": Centre(), "learning_rate": 0.1, "batch_size": 10, **settings}
    return Phase(trains=("chart",), epochs=epochs, weight_decay=0.0, **settings)


def losses(history: list[dict]) -> list[tuple]:
    """A history without its times."""
    return [(row["phase"], row["epoch"], row["train"], row["validation"]) for row in history]
