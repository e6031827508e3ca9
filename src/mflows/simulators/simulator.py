"""What a simulator is, and what some simulators know beyond sampling.

A simulator draws data ``x ~ p(x | theta)`` for parameters ``theta`` with a prior. Some know more
about their own truth, which a test or a benchmark can ask for with ``isinstance``: the exact
density on the manifold (`HasLogProb`), the distance to it (`HasDistance`), coordinates on it
(`HasSurface`) and those of each draw (`HasLatents`), the joint score of each draw
(`HasJointScore`), or the posterior of theta (`HasPosterior`).

All methods broadcast over leading axes as NumPy does: ``theta`` has shape ``(..., k)``, ``x`` has
shape ``(..., D)``, of images ``(..., H, W, C)``. A simulator without parameters has ``k = 0``.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import AbstractDistribution
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

_RAREST, _PATIENCE = 1_000_000, 1 << 22


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
class Generator(Protocol):
    """Makes points in parts that take long, each by itself, on a core of its own."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the D features."""
        ...

    def parts(self, count: int, seed: int) -> list[tuple]:
        """What `part` has to be called with, in order, for so many points or a few more."""
        ...

    @property
    def part(self) -> Callable[..., dict[str, np.ndarray]]:
        """Arrays of as many rows each: ``x`` of shape (N, D), and what else is known of points."""
        ...

    def summary(self, arrays: Mapping[str, np.ndarray]) -> str:
        """What to say of points that were made, on a line."""
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


@runtime_checkable
class HasSurface(Protocol):
    """Knows its manifold as the image of coordinates z in R^n: enough to draw it."""

    def embed(self, z: ArrayLike) -> Float[Array, "... D"]:
        """The point of the manifold at the coordinates ``z``, shape (..., n)."""
        ...

    def unembed(self, x: ArrayLike) -> Float[Array, "... n"]:
        """Coordinates of ``x``: ``embed(unembed(x))`` is ``x`` on the manifold, near it off it."""
        ...


@runtime_checkable
class HasLatents(Protocol):
    """Knows the coordinates z of what it draws, where to find them from x takes long."""

    def latents(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... n"]:
        """The z, shape (..., n), of the points of ``simulate`` for the same key."""
        ...

    def log_prob_of(self, z: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """Log density with respect to volume on the manifold, at the points of ``z``."""
        ...


class Scored(NamedTuple):
    """Points with what their simulator knows of how they came to be.

    Attributes:
        x: Points, shape (..., D).
        joint_score: grad_theta log p(x, z | theta) of each, with the simulator's latent variables
            z, shape (..., k). Its mean over draws that give the same x is the score of x.
    """

    x: Float[Array, "... D"]
    joint_score: Float[Array, "... k"]


@runtime_checkable
class HasJointScore(Protocol):
    """Knows how likely each draw, latent variables included, would be at other parameters."""

    def simulate_with_joint_score(self, key: PRNGKeyArray, theta: ArrayLike) -> Scored:
        """The points of ``simulate`` for the same key, and the joint score of each."""
        ...


@runtime_checkable
class HasPosterior(Protocol):
    """Draws parameters from their exact posterior, given a point."""

    def posterior(self, key: PRNGKeyArray, x: ArrayLike, size: int) -> Float[Array, "size k"]:
        """Independent draws of theta given one point ``x``, shape (D,), under the prior."""
        ...


def points(name: str, value: ArrayLike, size: int, simulator: str) -> Array:
    """Return ``value`` as a float array of shape (..., size); ``ValueError`` on another shape."""
    array = jnp.asarray(value, dtype=float)
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(
            f"Expected {name} of shape (..., {size}) for {simulator}; got {array.shape}. Is the "
            "last axis the coordinates?"
        )
    return array


def point(value: ArrayLike, size: int, simulator: str) -> Float[Array, " size"]:
    """Return one point ``x`` as a float array of shape (size,); ``ValueError`` on another shape."""
    array = points("x", value, size, simulator)
    if array.ndim != 1:
        raise ValueError(f"Expected one point x of shape ({size},); got {array.shape}.")
    return array


def accepted(
    propose: Callable[[PRNGKeyArray], tuple[Float[Array, "batch k"], Bool[Array, " batch"]]],
    key: PRNGKeyArray,
    size: int,
) -> Float[Array, "size k"]:
    """The first ``size`` draws that are kept: rejection sampling.

    Args:
        propose: Makes a batch of draws, and says which of them are kept.
        key: Random key.
        size: Number of draws.

    Raises:
        ValueError: If fewer than one draw in a million is kept, of the first four million or later.
    """
    found, kept, tried = [], 0, 0
    while not found or kept < size:
        key, batch_key = jr.split(key)
        draws, keep = (np.asarray(part) for part in propose(batch_key))
        found.append(draws[keep])
        kept, tried = kept + len(found[-1]), tried + len(keep)
        if tried >= _PATIENCE and kept * _RAREST < tried:
            raise ValueError(
                f"Kept {kept} of {tried} draws from the prior's range: hardly any parameters "
                "there give such an x. Was it drawn by this simulator?"
            )
    return jnp.asarray(np.concatenate(found)[:size])
