"""The latent density that all models of a learned manifold share: a spline flow on R^n."""

from flowjax.bijections import Chain, Invert
from flowjax.distributions import StandardNormal, Transformed
from jaxtyping import PRNGKeyArray

from mflows.charts import Placement, spline_stack


def spline_flow(
    key: PRNGKeyArray, latent_dim: int, cond_dim: int | None, *, layers: int, **settings
) -> Transformed:
    """A spline flow that is placed on the encoded data before its phase of training.

    Args:
        key: Random key for the initial weights.
        latent_dim: Dimension n.
        cond_dim: Number of components of the condition theta, or ``None``.
        layers: Number of spline coupling layers.
        **settings: Further arguments of ``mflows.charts.spline_stack``.
    """
    stack = spline_stack(key, latent_dim, cond_dim=cond_dim, layers=layers, **settings)
    return Transformed(
        StandardNormal((latent_dim,)), Chain([Invert(stack), Placement.identity(latent_dim)])
    )
