r"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv 1704.00028).

    min_g max_f  E f(x) - E f(g(u)) - lambda E (|grad f(y)| - 1)^2

in scaled units, with y on the lines between data and samples. The critic f sees the condition
theta too, so that samples are compared with data of the same theta. A minimax loss says nothing
about progress: epochs are judged by the energy distance between samples and held-out data,

    2 E |x - y| - E |x - x'| - E |y - y'|  >= 0,    zero if and only if the distributions agree

(Szekely & Rizzo 2013).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Scalar
from paramax import unwrap

from mflows.charts import condition_for, placement_of
from mflows.flow import Flow
from mflows.nets import ResidualMLP
from mflows.training.phases import Batch


@dataclass(frozen=True)
class Adversarial:
    """What the generator minimises and the critic maximises.

    Args:
        penalty: Weight lambda of the gradient penalty.
        width: Width of the critic network.
        blocks: Number of residual blocks of the critic network.
    """

    centred: ClassVar = True
    penalty: float = 1.0
    width: int = 64
    blocks: int = 2

    def opponent(self, key: PRNGKeyArray, flow: Flow) -> ResidualMLP:
        """The critic, which maximises what the flow minimises."""
        size = math.prod(flow.shape) + math.prod(flow.cond_shape or (0,))
        return ResidualMLP(key, size, 1, width=self.width, blocks=self.blocks)

    def __call__(self, flow, batch: Batch, key, critic):
        sample_key, mix_key = jr.split(key)
        real, fake = _scaled(flow, batch), _scaled(flow, _sampled(flow, batch, sample_key))
        share = jr.uniform(mix_key, (len(real), 1))
        between = jax.lax.stop_gradient(share * real + (1 - share) * fake)
        slope = jax.vmap(jax.grad(lambda y: critic(y)[0]))(between)
        penalty = jnp.square(jnp.linalg.norm(slope, axis=1) - 1)
        advantage = jax.vmap(critic)(real) - jax.vmap(critic)(fake)
        return advantage.mean() - self.penalty * penalty.mean()

    def validate(self, flow, batch: Batch, key) -> Scalar:
        """Energy distance between samples and data."""
        return energy_distance(_scaled(flow, _sampled(flow, batch, key)), _scaled(flow, batch))


def energy_distance(x: Float[Array, "a d"], y: Float[Array, "b d"]) -> Scalar:
    """Unbiased estimate of the energy distance between two samples."""

    def mean(a, b, pairs):
        squares = jnp.square(a[:, None] - b[None]).sum(-1)
        return jnp.sqrt(squares).sum() / pairs

    (a, b) = (len(x), len(y))
    return 2 * mean(x, y, a * b) - mean(x, x, a * (a - 1)) - mean(y, y, b * (b - 1))


def _sampled(flow: Flow, batch: Batch, key: PRNGKeyArray) -> Batch:
    """The batch with points drawn from the flow at the same conditions."""
    keys, flow = jr.split(key, batch.x.shape[0]), unwrap(flow)
    return batch._replace(x=jax.vmap(flow._sample)(keys, batch.condition))


def _scaled(flow: Flow, batch: Batch) -> Float[Array, "N d"]:
    """Points in the coordinates of the chart's placement, beside their conditions."""
    placement = unwrap(placement_of(flow.chart))
    x = batch.x if placement is None else jax.vmap(placement.inverse)(batch.x)
    condition = condition_for(flow, batch.condition)
    parts = [part.reshape(len(x), -1) for part in (x, condition) if part is not None]
    return jnp.concatenate(parts, axis=1)
