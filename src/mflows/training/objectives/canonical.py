r"""Canonical manifold flows (Flouris & Konukoglu 2023, arXiv 2310.12743).

Coordinates of a manifold are free to shear: many charts have the same manifold and density. The
off-diagonal elements of the pullback metric G = J^T J, in units of the data's standard deviations,

    w |(x - g(e(x))) / s|^2 / D - log p(x) + c sum_{i != j} |G_ij|

are penalised, so that coordinates become orthogonal. Directions of latent space then mean
something on their own, and Hadamard's bound of the log-volume becomes tight.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from paramax import unwrap

from mflows.training.objectives.likelihood import ReconstructionAndLikelihood, scale_of
from mflows.training.phases import Batch


@dataclass(frozen=True)
class Canonical:
    """Reconstruction and likelihood, and ``penalty`` times the off-diagonal elements of G."""

    weight: float = 1e5
    penalty: float = 1.0

    def __call__(self, flow, batch: Batch, key):
        both = ReconstructionAndLikelihood(self.weight)(flow, batch, key)
        return both + self.penalty * jnp.mean(shear(flow, batch))


def shear(flow, batch: Batch):
    """Sum of the absolute off-diagonal elements of G at each point's projection, shape (N,)."""
    flow, scale = unwrap(flow), scale_of(flow)

    def of_point(x, condition):
        u = flow.chart.encode(x, condition)
        frame = jnp.eye(flow.latent_dim, dtype=u.dtype)
        tangents = flow.chart.pushforward(u, frame, condition)[1] / scale
        tangents = tangents.reshape(flow.latent_dim, -1)
        metric = tangents @ tangents.T
        return jnp.abs(metric).sum() - jnp.trace(metric)

    return jax.vmap(of_point)(batch.x, batch.condition)
