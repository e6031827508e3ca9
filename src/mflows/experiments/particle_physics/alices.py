r"""ALICES: density ratios by a classifier that knows the simulator's joint ratio and score.

    log r(x | theta) = log p(x | theta) / p(x | 0)

by a network R(x, theta) that minimises, over pairs (x, theta) of p(theta) p(x | theta), y = 0, and
of p(theta) p(x | 0), y = 1, with s = 1 / (1 + e^R) and the joint ratio r and score t of the event,
theta in units of its largest value,

    - (1 / (1 + r)) log s - (r / (1 + r)) log(1 - s) + alpha (1 - y) mean |grad_theta R - t|^2

(Stoye, Brehmer, Louppe, Pavez & Cranmer 2018, arXiv 1808.00973). It is no density of x, but as good
as one for theta.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mflows.keys import generator
from mflows.nets import ResidualMLP
from mflows.simulators.physics.pool import REACH, Paired, Pool
from mflows.training.epoch import CosineDecay

WIDTH, BLOCKS = 100, 2
WEIGHT = 2.0
"""Alpha: as for SCANDAL."""
RATE, BATCH, STEPS = 1e-3, 100, 100
TIMED, LONGEST = 6, 1_000_000
"""Blocks of steps that are timed, and more than there are before their number is known."""


class Alices(eqx.Module):
    """An estimated log density ratio, with the method ``log_prob`` of a likelihood.

    Args:
        key: Random key for the initial weights.
        centre: Means of the features, shape (40,).
        scale: Their standard deviations.
    """

    network: ResidualMLP
    centre: Float[np.ndarray, " 40"]
    scale: Float[np.ndarray, " 40"]

    def __init__(self, key: PRNGKeyArray, centre: np.ndarray, scale: np.ndarray):
        size = len(centre) + 2
        self.network = ResidualMLP(key, size, 1, width=WIDTH, blocks=BLOCKS, scale=0.01)
        self.centre, self.scale = centre, scale

    def log_ratio(self, x: Float[Array, " 40"], theta: Float[Array, " 2"]) -> Array:
        """Log p(x | theta) / p(x | 0) of one event, x in standard deviations."""
        return self.network(jnp.concatenate([x, theta / REACH]))[0]

    def log_prob(self, x: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """The log ratio of events (..., 40), up to what does not depend on theta."""
        scaled = jnp.asarray((x - self.centre) / self.scale, dtype=float)
        return jnp.vectorize(self.log_ratio, signature="(d),(k)->()")(scaled, jnp.asarray(theta))


class Examples(NamedTuple):
    """Events in standard deviations, theta, joint ratio, joint score, and y; one row each."""

    x: Any
    theta: Any
    log_ratio: Any
    score: Any
    y: Any


def train_alices(
    key: PRNGKeyArray, pool: Pool, minutes: float | None
) -> tuple[Alices, list[float], float]:
    """The classifier after so many minutes, or a few steps, its losses, and the minutes it took.

    A loss is the mean over a block of steps. How many blocks the minutes hold is found by the
    fastest of some; the first one compiles.
    """
    rng, (model_key, pair_key) = generator(key), jr.split(key)
    model = Alices(model_key, pool.x.mean(axis=0), pool.x.std(axis=0))
    parameters, fixed = eqx.partition(model, lambda leaf: isinstance(leaf, jax.Array))
    moments = optax.adam(CosineDecay(*map(jnp.asarray, (RATE, 1.0, 0.0)))).init(parameters)
    x = (pool.x - model.centre) / model.scale
    pairs = pool.paired(pair_key)
    blocks, losses, seconds = (LONGEST if minutes else TIMED), [], []
    while len(losses) < blocks:
        started = time.perf_counter()
        examples = _examples(rng, pool, pairs, x)
        rate = CosineDecay(*map(jnp.asarray, (RATE, float(blocks * STEPS), 0.0)))
        parameters, moments, loss = _block(parameters, moments, fixed, examples, rate)
        losses.append(float(loss))
        seconds.append(time.perf_counter() - started)
        if len(losses) == TIMED and minutes:
            blocks = max(round(60 * minutes / min(seconds)), TIMED)
    return eqx.combine(parameters, fixed), losses, sum(seconds[1:]) / 60


def _examples(rng: np.random.Generator, pool: Pool, pairs: Paired, x: np.ndarray) -> Examples:
    """A block of steps, (STEPS, BATCH, ...): half of each batch from theta, half from theta = 0."""
    count = STEPS * BATCH // 2
    theta = rng.uniform(-REACH, REACH, size=(count, 2))
    rows = rng.choice(len(pool), size=count, p=pairs.weight / pairs.weight.sum())
    others = rng.integers(len(pool), size=count)
    here, there = pool.at(rows), pool.at(others)
    found = Examples(
        np.stack([x[rows], x[others]], axis=1),
        np.stack([pairs.theta[rows], theta], axis=1),
        np.log(np.stack([here.ratio(pairs.theta[rows]), there.ratio(theta)], axis=1)),
        np.stack([pairs.joint_score[rows], there.joint_score(theta)], axis=1),
        np.tile([0.0, 1.0], (count, 1)),
    )
    shaped = [part.reshape(STEPS, BATCH, *part.shape[2:]) for part in found]
    return Examples(*(jnp.asarray(part, dtype=float) for part in shaped))


def loss(log_ratio: Callable[[Array, Array], Array], batch: Examples) -> Array:
    """Cross entropy with the joint ratio, and squared error of the joint score."""
    estimate, score = jax.vmap(jax.value_and_grad(log_ratio, argnums=1))(batch.x, batch.theta)
    target = jax.nn.sigmoid(-batch.log_ratio)
    entropy = target * jax.nn.softplus(estimate) + (1 - target) * jax.nn.softplus(-estimate)
    off = (1 - batch.y) * jnp.square(REACH * (score - batch.score)).mean(axis=1)
    return jnp.mean(entropy + WEIGHT * off)


@eqx.filter_jit
def _block(parameters, moments, fixed, examples: Examples, rate: CosineDecay):
    """Steps through the batches of a block, and their mean loss."""

    def of_batch(parameters, batch: Examples) -> Array:
        return loss(eqx.combine(parameters, fixed).log_ratio, batch)

    def step(carry, batch: Examples):
        parameters, moments = carry
        value, gradient = jax.value_and_grad(of_batch)(parameters, batch)
        updates, moments = optax.adam(rate).update(gradient, moments)
        return (optax.apply_updates(parameters, updates), moments), value

    (parameters, moments), losses = jax.lax.scan(step, (parameters, moments), examples)
    return parameters, moments, losses.mean()
