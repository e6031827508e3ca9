r"""Priors of SciPy, torch and sbi as FlowJAX distributions.

The samplers need the density of a prior, its gradient and its `support`, which FlowJAX gives. A
frozen SciPy distribution or one of torch (sbi's are of torch) becomes the FlowJAX distribution of
the same density, by the name of its family; torch itself is never imported. Those of a list are
independent:

    log p(theta) = sum_i log p_i(theta_i)
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod
from typing import Any, ClassVar, TypeAlias

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.bijections import Affine, Chain, Concatenate, Exp, Loc, Reshape
from flowjax.distributions import (
    AbstractDistribution,
    Beta,
    Cauchy,
    Exponential,
    Gamma,
    Gumbel,
    Laplace,
    Logistic,
    LogNormal,
    MultivariateNormal,
    Normal,
    StudentT,
    Transformed,
    Uniform,
)
from jaxtyping import Array

from mflows.inference.supports import support

Prior: TypeAlias = Any
"""What `as_prior` takes: a distribution of FlowJAX, SciPy, torch or sbi, or a list of them."""


class Independent(AbstractDistribution):
    """Groups of parameters that are independent of each other, one behind another.

    Args:
        parts: Distribution of each group, unconditional and of shape () or (k_i,).

    Raises:
        ValueError: For other parts, or none.
    """

    parts: tuple[AbstractDistribution, ...]
    shape: tuple[int, ...]
    cond_shape: ClassVar[None] = None

    def __init__(self, parts: Sequence[AbstractDistribution]):
        wrong = [part for part in parts if len(part.shape) > 1 or part.cond_shape is not None]
        if wrong or not parts:
            got = f"one {_shapes(wrong[0])}" if wrong else "none"
            raise ValueError(
                f"Expected unconditional priors of shape () or (k,) in the list; got {got}."
            )
        self.parts = tuple(parts)
        self.shape = (sum(self._sizes),)

    @property
    def _sizes(self) -> list[int]:
        return [prod(part.shape) for part in self.parts]

    def _log_prob(self, x, condition=None):
        groups = jnp.split(x, list(accumulate(self._sizes))[:-1])
        return sum(
            part._log_prob(group.reshape(part.shape))
            for part, group in zip(self.parts, groups, strict=True)
        )

    def _sample(self, key, condition=None):
        keys = jr.split(key, len(self.parts))
        drawn = [part._sample(key) for part, key in zip(self.parts, keys, strict=True)]
        return jnp.concatenate([group.ravel() for group in drawn])


@support.register
def _(prior: Independent):
    sized = zip(prior.parts, prior._sizes, strict=True)
    return Concatenate([Reshape(support(part), (size,)) for part, size in sized])


def as_prior(prior: Prior) -> AbstractDistribution:
    """The FlowJAX distribution of shape (k,) that a prior is.

    Args:
        prior: One of

            * a FlowJAX distribution of shape (k,), which is returned as it is;
            * a frozen distribution of ``scipy.stats``, such as ``norm(0, 2)`` of k = 1,
              ``norm([0, 1], 2)`` of k = 2, or ``multivariate_normal(mean, cov)``;
            * a distribution of ``torch.distributions`` or sbi, such as ``BoxUniform`` or
              ``MultipleIndependent``. Its batch and event shapes together are (k,), or () for
              k = 1;
            * a list or tuple of such distributions, and of FlowJAX's of shape (), which are
              independent.

    Raises:
        ValueError: For another shape, a condition, or parameters that are no distribution's.
        TypeError: For a distribution without a known FlowJAX equivalent, or anything else.
    """
    found = _converted(prior)
    if len(found.shape) != 1 or found.cond_shape is not None:
        hint = " Write [prior] for a single parameter." if found.shape == () else ""
        raise ValueError(
            f"Expected an unconditional prior of shape (k,); got {_shapes(found)}.{hint}"
        )
    return found


def _shapes(prior: AbstractDistribution) -> str:
    return f"shape {prior.shape} and condition {prior.cond_shape}"


def _converted(prior: Any) -> AbstractDistribution:
    if isinstance(prior, AbstractDistribution):
        return prior
    if isinstance(prior, list | tuple):
        return Independent([_converted(part) for part in prior])
    match type(prior).__module__.partition(".")[0]:
        case "scipy":
            return _of_scipy(prior)
        case "torch" | "sbi":
            return _of_torch(prior)
    raise _unknown(prior, type(prior).__name__)


def _log_uniform(a, b, loc, scale):
    logarithm = Uniform(jnp.log(a), jnp.log(b))
    return Transformed(logarithm, Chain([Exp(logarithm.shape), Affine(loc, scale)]))


_SCIPY: dict[str, Callable[..., AbstractDistribution]] = {
    "beta": lambda a, b, loc, scale: Transformed(Beta(a, b), Affine(loc, scale)),
    "cauchy": Cauchy,
    "expon": lambda loc, scale: Transformed(Exponential(1 / scale), Loc(loc)),
    "gamma": lambda a, loc, scale: Transformed(Gamma(a, scale), Loc(loc)),
    "gumbel_r": Gumbel,
    "laplace": Laplace,
    "logistic": Logistic,
    "lognorm": lambda s, loc, scale: Transformed(LogNormal(jnp.log(scale), s), Loc(loc)),
    "loguniform": _log_uniform,
    "norm": Normal,
    "t": StudentT,
    "uniform": lambda loc, scale: Uniform(loc, loc + scale),
}
"""Family -> its distribution, as a function of SciPy's parameters."""


def _of_scipy(prior: Any) -> AbstractDistribution:
    if type(prior).__name__ == "multivariate_normal_frozen":
        return _multivariate_normal(prior.mean, prior.cov)
    if not hasattr(prior, "dist"):
        raise _unknown(prior, f"{type(prior).__name__}, which is not frozen,")
    family, name = prior.dist, prior.dist.name
    if name not in _SCIPY or not type(family).__module__.startswith("scipy."):
        raise _unknown(prior, name)
    if np.isnan(prior.support()).any():
        raise ValueError(
            f"Expected parameters of a distribution; got {name} with {prior.args} and {prior.kwds}."
        )
    shapes = family.shapes.split(", ") if family.shapes else []
    given = dict(zip([*shapes, "loc", "scale"], prior.args, strict=False)) | prior.kwds
    return _SCIPY[name](**_vectors({"loc": 0.0, "scale": 1.0} | given))


_TORCH: dict[str, Callable[..., AbstractDistribution]] = {
    "Beta": lambda concentration1, concentration0: Beta(concentration1, concentration0),
    "Cauchy": Cauchy,
    "Exponential": Exponential,
    "Gamma": lambda concentration, rate: Gamma(concentration, 1 / rate),
    "Gumbel": Gumbel,
    "Laplace": Laplace,
    "LogNormal": LogNormal,
    "Normal": Normal,
    "StudentT": StudentT,
    "Uniform": lambda low, high: Uniform(low, high),
}
"""Class -> its distribution, as a function of torch's parameters."""

_WRAPPERS = {
    "BoxUniform": "base_dist",
    "Independent": "base_dist",
    "OneDimPriorWrapper": "prior",
    "PytorchReturnTypeWrapper": "prior",
}
"""Class of torch or sbi -> the distribution in it, which has the same density."""


def _of_torch(prior: Any) -> AbstractDistribution:
    name = type(prior).__name__
    if name in _WRAPPERS:
        return _converted(getattr(prior, _WRAPPERS[name]))
    if name == "MultipleIndependent":
        return _converted(list(prior.dists))
    if name == "MultivariateNormal":
        return _multivariate_normal(_array(prior.loc), _array(prior.covariance_matrix))
    if name not in _TORCH:
        raise _unknown(prior, name)
    return _TORCH[name](
        **_vectors({key: _array(getattr(prior, key)) for key in prior.arg_constraints})
    )


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().cpu(), dtype=np.float64)


def _vectors(parameters: dict[str, Any]) -> dict[str, Array]:
    """Parameters of one common shape (k,), in JAX's precision."""
    arrays = np.broadcast_arrays(*map(np.atleast_1d, parameters.values()))
    if arrays[0].ndim > 1:
        raise ValueError(
            f"Expected a prior of shape (k,); got parameters of shape {arrays[0].shape}."
        )
    return {
        name: jnp.asarray(array, dtype=float)
        for name, array in zip(parameters, arrays, strict=True)
    }


def _multivariate_normal(mean: np.ndarray, covariance: np.ndarray) -> AbstractDistribution:
    if mean.ndim != 1:
        raise ValueError(f"Expected a prior of shape (k,); got a mean of shape {mean.shape}.")
    if not np.all(np.linalg.eigvalsh(covariance) > 0):
        raise ValueError(f"Expected a positive definite covariance; got {covariance.tolist()}.")
    return MultivariateNormal(jnp.asarray(mean, dtype=float), jnp.asarray(covariance, dtype=float))


def _unknown(prior: Any, name: str) -> TypeError:
    return TypeError(
        "Expected a prior as a FlowJAX distribution, a frozen one of scipy.stats "
        f"({', '.join(_SCIPY)}, multivariate_normal), one of torch.distributions or sbi "
        f"({', '.join(_TORCH)}, MultivariateNormal, and products of them), or a list of these; got "
        f"{name} of {type(prior).__module__}. Write it in FlowJAX: transform a distribution that "
        "is there, or subclass AbstractDistribution and register its bounds with "
        "mflows.inference.support."
    )
