r"""Optimal transport: the distance between model samples and data, without any likelihood.

The entropic cost of moving the points X to the points Y, with C the matrix of |x - y|^2 / 2,

    OT_b(X, Y) = min_P  <P, C> + b^2 KL(P || uniform),   P >= 0 with uniform marginals,

is debiased to the Sinkhorn divergence (Genevay et al. 2018, arXiv 1706.00292; Feydy et al. 2019,
arXiv 1810.08278)

    S_b(X, Y) = OT_b(X, Y) - OT_b(X, X) / 2 - OT_b(Y, Y) / 2  >= 0,

which is 0 for X = Y. The blur b is a length: structure much finer than b is not seen.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Scalar
from paramax import unwrap

from mflows.charts import condition_for
from mflows.training.objectives.reconstruction import scale_of
from mflows.training.phases import Batch

ITERATIONS = 20
WIDEST, DECAY = 50.0, 0.8
"""The squared blur starts so many times wider and shrinks by this factor with every iteration."""


@dataclass(frozen=True)
class SinkhornDivergence:
    """Sinkhorn divergence between samples of the flow and data, in scaled units.

    Without OT_b(Y, Y) / 2, the term of the data alone: it is a third of the work and has no
    gradient. The least loss is not 0.

    A conditional flow draws one sample for every point of the batch, at that point's theta, and
    the two sets are compared in the joint space of (x, theta): a sample counts as right only near
    data of similar theta. Comparing x alone would leave the dependence on theta unlearned. x is in
    units of the placement's scale, theta in units of its standard deviation in the batch.

    Args:
        blur: The blur b, in these units.
    """

    centred: ClassVar = True
    blur: float = 0.05

    def __call__(self, flow, batch: Batch, key):
        flow = unwrap(flow)
        scale = scale_of(flow)
        keys = jr.split(key, batch.x.shape[0])
        points = [jax.vmap(flow._sample)(keys, batch.condition) / scale, batch.x / scale]
        points = [x.reshape(len(x), -1) for x in points]
        if (theta := condition_for(flow, batch.condition)) is not None:
            theta = theta / jnp.maximum(theta.std(0), 1e-6)
            points = [jnp.concatenate((x, theta.reshape(len(x), -1)), axis=1) for x in points]
        return _divergence(*points, blur=self.blur, iterations=ITERATIONS, of_y=False)


def sinkhorn_divergence(
    x: Float[Array, "N D"],
    y: Float[Array, "M D"],
    *,
    blur: float = 0.05,
    iterations: int = ITERATIONS,
) -> Scalar:
    """The Sinkhorn divergence S_b, with b the ``blur``, after a fixed number of iterations.

    Its gradient takes the dual potentials for optimal (Danskin's theorem). Twenty iterations from
    a wide blur down are not the optimum, but near it, and their number keeps the cost of a step
    constant.
    """
    return _divergence(x, y, blur=blur, iterations=iterations, of_y=True)


def _divergence(x, y, *, blur: float, iterations: int, of_y: bool) -> Scalar:
    """S_b with or without the term of y alone."""
    from ott.geometry.epsilon_scheduler import Epsilon
    from ott.geometry.pointcloud import PointCloud
    from ott.tools.sinkhorn_divergence import sinkhorn_divergence

    # OTT's cost is |x - y|^2, twice ours: twice the regularisation gives twice the divergence.
    epsilon = Epsilon(2 * blur**2, WIDEST, DECAY)
    solver = {
        "min_iterations": iterations,
        "max_iterations": iterations,
        "inner_iterations": iterations,
        "implicit_diff": None,
        "use_danskin": True,
    }
    twice, _ = sinkhorn_divergence(
        PointCloud, x, y, epsilon=epsilon, solve_kwargs=solver, static_b=not of_y
    )
    return twice / 2
