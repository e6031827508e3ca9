r"""A flow as the likelihood of a posterior of sbi (Tejero-Cantero et al. 2020, arXiv 2007.09114).

    potential(theta) = sum_i log p(x_i | theta) + log p(theta)

is the `log_posterior` of ``nuts``, and the chains of sbi run in the same coordinates without
bounds, those of `support`. JAX computes all of it for a batch of theta at once; gradients reach
torch as products with vectors of JAX.

sbi and torch are an extra, ``pip install mflows[sbi]``, and imported with this file.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import torch
from flowjax.bijections import AbstractBijection
from flowjax.distributions import AbstractDistribution
from jaxtyping import ArrayLike
from paramax import unwrap
from sbi.inference import MCMCPosterior
from sbi.inference.potentials.base_potential import BasePotential
from sbi.utils import mcmc_transform
from torch import Tensor
from torch.distributions import Distribution, Transform, biject_to
from torch.distributions.constraints import Constraint, real_vector
from torch.distributions.transforms import IndependentTransform

from mflows.flow import Flow, real
from mflows.inference.posterior import log_posterior
from mflows.inference.priors import Prior, as_prior
from mflows.inference.supports import support
from mflows.simulators import HasLogProb

AT_ONCE = 128
"""Parameter vectors evaluated at once: bounds memory, sbi asks for 10,000 to start a chain."""


def to_sbi(model: Flow | HasLogProb, prior: Prior, x: ArrayLike, **settings: Any) -> MCMCPosterior:
    """The posterior of theta given observed points ``x``, for sbi to sample.

    Other observed points are set with ``.set_default_x``, which rounds them to single precision.
    sbi draws with the seeds of torch and NumPy: ``torch.manual_seed`` and ``np.random.seed``.

    Args:
        model: A flow with a condition, or anything with ``log_prob(x, theta)``, such as a
            simulator that knows its likelihood.
        prior: Distribution of theta, as for `nuts`.
        x: Observed points, shape (m, *shape), independent given theta.
        **settings: Those of ``sbi.inference.MCMCPosterior``, such as ``num_chains``, ``thin`` and
            ``warmup_steps``. The default ``method`` is slice sampling without gradients;
            ``"nuts_pyro"`` follows them, and needs Pyro. ``init_strategy="proposal"`` starts
            chains at draws from the prior, sbi's default at the best of 10,000 for each.

    Raises:
        ValueError: For shapes that do not fit the model.
        TypeError: For a prior that is not known, see `as_prior`.
    """
    known = TorchPrior(as_prior(prior))
    return MCMCPosterior(Potential(model, known, x), known, mcmc_transform(known), **settings)


class Potential(BasePotential):
    """The log posterior density of theta in nats, up to a constant: what sbi samples."""

    def __init__(self, model: Flow | HasLogProb, prior: "TorchPrior", x: ArrayLike):
        self.model = model
        self.known = prior.known
        super().__init__(prior, torch.from_numpy(real("x", x)))

    def set_x(self, x_o: Tensor | None, x_is_iid: bool | None = True):
        """Observe the points ``x_o``, shape (m, *shape); sbi calls it before it samples.

        Raises:
            NotImplementedError: For a batch of observations, each with a theta of its own.
            ValueError: For shapes that do not fit the model.
        """
        if x_o is None or not x_is_iid:  # sbi catches it, and asks for one observation at a time
            raise NotImplementedError(
                "Expected observed points of shape (m, *shape), independent given one theta; got "
                f"{'none' if x_o is None else 'a batch of observations'}. Use sample, not "
                "sample_batched, for each observation."
            )
        if x_o is not getattr(self, "_x_o", None):
            self.target = log_posterior(self.model, x_o.cpu().numpy(), self.known)
        self._x_o, self._x_is_iid = x_o, True

    def __call__(self, theta: Tensor, track_gradients: bool = True) -> Tensor:
        """Of a batch of theta, shape (N, k); returns shape (N,)."""
        with torch.set_grad_enabled(track_gradients):
            return _through(self.target, theta)


class TorchPrior(Distribution):
    """A FlowJAX distribution of shape (k,) as one of torch, which draws with torch's seed.

    ``biject_to(prior.support)`` is its `support`.
    """

    def __init__(self, known: AbstractDistribution):
        self.known = unwrap(known)
        self.bijection = unwrap(support(known))
        super().__init__(event_shape=torch.Size(known.shape), validate_args=False)

    @property
    def arg_constraints(self) -> dict[str, Constraint]:
        return {}

    @property
    def support(self) -> Constraint:
        return _Support(self)

    def sample(self, sample_shape=()) -> Tensor:
        key = jr.key(int(torch.randint(2**31, ())))
        return _tensor(self.known.sample(key, tuple(sample_shape))).to(torch.get_default_dtype())

    def log_prob(self, value: Tensor) -> Tensor:
        return _through(self.known._log_prob, value)

    def to(self, device: Any) -> None:
        """Stay where JAX computes; tensors come and go."""


class _Support(Constraint):
    event_dim = 1

    def __init__(self, prior: TorchPrior):
        self.prior = prior

    def check(self, value):
        return self.prior.log_prob(value).isfinite()


@biject_to.register(_Support)
def _(constraint: _Support) -> Transform:
    # sbi sums the log-determinants of all but these over the parameters once more.
    return IndependentTransform(_Coordinates(constraint.prior), 0)


class _Coordinates(Transform):
    """z in R^k to theta."""

    domain = real_vector
    bijective = True

    def __init__(self, prior: TorchPrior):
        super().__init__()
        self.codomain = prior.support
        self.bijection: AbstractBijection = prior.bijection

    def _call(self, x):
        return _through(self.bijection.transform, x).to(x)

    def _inverse(self, y):
        return _through(self.bijection.inverse, y).to(y)

    def log_abs_det_jacobian(self, x, y):
        return _through(_LogDet(self.bijection), x)


class _LogDet(eqx.Module):
    bijection: AbstractBijection

    def __call__(self, z):
        return self.bijection.transform_and_log_det(z)[1]


class _Through(torch.autograd.Function):
    """A function of one point, a JAX pytree, at the rows of a tensor."""

    @staticmethod
    def forward(ctx, rows: Tensor, function):
        ctx.save_for_backward(rows)
        ctx.function = function
        return _tensor(_values(function, _array(rows))).to(rows.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, cotangents: Tensor):
        (rows,) = ctx.saved_tensors
        found = _products(ctx.function, _array(rows), _array(cotangents))
        return _tensor(found).to(rows), None


def _through(function, points: Tensor) -> Any:
    """``function`` at points (..., k)."""
    found: Any = _Through.apply(points.reshape(-1, points.shape[-1]), function)
    return found.reshape(*points.shape[:-1], *found.shape[1:])


@eqx.filter_jit
def _values(function, rows):
    return _mapped(function, rows)


@eqx.filter_jit
def _products(function, rows, cotangents):
    def product(row, cotangent):
        value, pullback = jax.vjp(function, row)
        return pullback(cotangent.astype(value.dtype))[0]

    return _mapped(product, rows, cotangents)


def _mapped(function, *rows):
    if len(rows[0]) <= AT_ONCE:
        return jax.vmap(function)(*rows)
    return jax.lax.map(lambda row: function(*row), rows, batch_size=AT_ONCE)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(jnp.result_type(float))


def _tensor(array: jax.Array) -> Tensor:
    return torch.from_numpy(np.array(array))  # a copy, which torch may write to
