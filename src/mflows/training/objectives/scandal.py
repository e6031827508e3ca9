r"""SCANDAL: learn how a density depends on theta from a simulator's joint score.

A simulator that runs through latent variables z often knows its joint score

    t = grad_theta log p(x, z | theta),    E[t | x, theta] = grad_theta log p(x | theta).

Its mean squared distance to the score of the model is therefore least when the model's is the
true one, and adding it to the negative log-likelihood,

    -log p(x | theta) + alpha |grad_theta log p(x | theta) - t|^2,

teaches the dependence on theta from fewer points (Brehmer, Louppe, Pavez & Cranmer 2020, arXiv
1805.12244). The square is averaged over the components of theta.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Scalar
from paramax import unwrap

from mflows.training.phases import Batch

WEIGHT = 2.0
"""The published alpha."""


@dataclass(frozen=True)
class Scandal:
    """Negative log-likelihood and score error of a bijection, or of chart and density jointly."""

    centred: ClassVar = True
    weight: float = WEIGHT
    needs_joint_score: ClassVar = True

    def __call__(self, flow, batch: Batch, key):
        return _loss(unwrap(flow)._log_prob, batch, self.weight)


@dataclass(frozen=True)
class LatentScandal:
    """The same for the density phase: a frozen chart that does not depend on theta.

    Coordinates and log-volume of a point are then constants, so that the score of the latent
    density is the score of the flow, and the data are encoded once.
    """

    centred: ClassVar = True
    weight: float = WEIGHT
    needs_joint_score: ClassVar = True

    def prepare(self, flow, batch: Batch) -> Batch:
        """Replace x by its latent coordinates.

        Raises:
            ValueError: If the chart depends on theta, whose coordinates have a score as well.
        """
        if flow.chart.cond_shape is not None:
            raise ValueError(
                "Expected a manifold that does not depend on theta for the density phase of "
                "SCANDAL; got a conditional chart. Use the objective Scandal instead."
            )
        return batch._replace(x=flow.encode(batch.x, batch.condition))

    def __call__(self, flow, batch: Batch, key):
        return _loss(unwrap(flow).latent_log_prob, batch, self.weight)


def _loss(log_prob, batch: Batch, weight: float) -> Scalar:
    values, scores = jax.vmap(jax.value_and_grad(log_prob, argnums=1))(batch.x, batch.condition)
    return weight * jnp.mean(jnp.square(scores - _joint_score(batch))) - values.mean()


def _joint_score(batch: Batch) -> Array:
    if batch.joint_score is None:
        raise ValueError(
            "Expected data with the joint score of a simulator, Data(x, condition, "
            "joint_score=...), or an array joint_score in the file; got none."
        )
    return batch.joint_score
