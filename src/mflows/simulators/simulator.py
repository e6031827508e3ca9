"""What a simulator is, and what some simulators know beyond sampling.

A simulator draws data ``x ~ p(x | theta)`` for parameters ``theta`` with a prior. Some know more
about their own truth, which a test or a benchmark can ask for with ``isinstance``: the exact
density on the manifold (`HasLogProb`) or the distance to it (`HasDistance`).

All methods broadcast over leading axes as NumPy does: ``theta`` has shape ``(..., k)``, ``x`` has
shape ``(..., D)``.
"""

from typing import Protocol, runtime_checkable

from flowjax.distributions import AbstractDistribution
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray


@runtime_checkable
class Simulator(Protocol):
    """Draws points given parameters, and knows the prior of the parameters."""

    @property
    def prior(self) -> AbstractDistribution:
        """Distribution of theta; its ``shape`` is ``(k,)``."""
        ...

    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... D"]:
        """One point of shape (D,) for every parameter vector in ``theta``."""
        ...


@runtime_checkable
class HasLogProb(Protocol):
    """Knows the exact density with respect to volume on its manifold."""

    def log_prob(self, x: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """Log density at ``x`` (nats per unit of manifold volume)."""
        ...


@runtime_checkable
class HasDistance(Protocol):
    """Knows the distance of any point to its manifold."""

    def distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Euclidean distance of ``x`` to the nearest point of the manifold."""
        ...
