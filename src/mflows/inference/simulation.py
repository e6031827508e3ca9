"""Draw parameters from a prior and points from anybody's simulator."""

import inspect
from collections.abc import Callable
from typing import Any

import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows.data import Data
from mflows.inference.priors import as_prior
from mflows.keys import checked, integer_seed
from mflows.simulators import Simulator


def simulate(
    key: PRNGKeyArray,
    simulator: Simulator | Callable,
    prior: Any,
    size: int,
    *,
    vectorized: bool = False,
) -> Data:
    """Pairs (theta, x): parameters drawn from the prior, and one point for each.

    Args:
        key: Random key.
        simulator: One of `mflows.simulators`, or a function of your own. A function takes theta, an
            array of shape (k,), and returns a point x of any shape; if it takes a second argument,
            that is a ``numpy.random.Generator``. Theta is a tensor of torch if the prior is one.
        prior: What `as_prior` takes.
        size: Number N of pairs.
        vectorized: The function takes all theta at once, shape (N, k), and returns points of shape
            (N, *shape).

    Returns:
        Data with ``x`` of shape (N, *shape) and ``condition`` theta of shape (N, k).

    Raises:
        DataError: If points are not finite.
        ValueError: If the simulator returns another number of points.
    """
    theta_key, key = jr.split(checked(key))
    theta = np.asarray(as_prior(prior).sample(theta_key, (size,)))
    return Data(points_at(key, simulator, theta, prior=prior, vectorized=vectorized), theta)


def points_at(
    key: PRNGKeyArray,
    simulator: Simulator | Callable,
    theta: np.ndarray,
    *,
    prior: Any = None,
    vectorized: bool = False,
) -> np.ndarray:
    """Points (N, *shape) of a simulator at parameters (N, k)."""
    if isinstance(simulator, Simulator):
        return np.asarray(simulator.simulate(key, theta))
    if not callable(simulator):
        raise ValueError(
            "Expected a simulator, an object with simulate(key, theta) or a function of theta; got "
            f"{type(simulator).__name__}."
        )
    draws = [np.random.default_rng(integer_seed(key))] if _wants_generator(simulator) else []
    given: Any = theta
    if type(prior).__module__.partition(".")[0] in ("torch", "sbi"):
        import torch

        given = torch.as_tensor(theta, dtype=torch.float32)
    found = simulator(given, *draws) if vectorized else [simulator(each, *draws) for each in given]
    x = np.asarray(found) if vectorized else np.stack([np.asarray(each) for each in found])
    if x.ndim < 2 or len(x) != len(theta):
        raise ValueError(
            f"Expected points of shape ({len(theta)}, D) from the simulator, one for each theta; "
            f"got {x.shape}. A function of one theta returns one point, shape (D,); one of many "
            "is marked with vectorized=True."
        )
    return x


def _wants_generator(function: Callable) -> bool:
    """Whether a function must be given a second argument."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a built-in function
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in positional) > 1
