r"""The unnormalised log posterior, over theta and over unconstrained coordinates z.

log p(theta | x) = log p(x | theta) + log p(theta) + const
log p(z | x)     = log p(theta(z) | x) + log |det dtheta/dz|,     z in R^k
"""

import equinox as eqx
from flowjax.bijections import AbstractBijection
from flowjax.distributions import AbstractDistribution
from jaxtyping import Array, ArrayLike, Float, Scalar
from paramax import unwrap

from mflows.flow import Flow
from mflows.inference.alarms import alarm_of_prior
from mflows.inference.likelihood import LogLikelihood, log_likelihood
from mflows.inference.priors import Prior, as_prior
from mflows.inference.supports import support
from mflows.simulators import HasLogProb


class LogPosterior(eqx.Module):
    """A callable theta -> log posterior in nats, up to a constant; ``-inf`` outside the prior.

    Args:
        likelihood: Log-likelihood of one theta of shape (k,).
        prior: Distribution of theta, as `as_prior` takes it.
    """

    likelihood: LogLikelihood
    prior: AbstractDistribution
    support: AbstractBijection

    def __init__(self, likelihood: LogLikelihood, prior: Prior):
        known = as_prior(prior)
        self.likelihood = likelihood
        self.prior = unwrap(known)
        self.support = unwrap(support(known))

    def __call__(self, theta: Float[Array, " k"]) -> Scalar:
        return self.likelihood(theta) + self.prior._log_prob(theta)

    def unconstrained(self, z: Float[Array, " k"]) -> Scalar:
        """Log posterior density of the unconstrained coordinates z."""
        theta, log_det = self.support.transform_and_log_det(z)
        return self(theta) + log_det


def log_posterior(model: Flow | HasLogProb, x: ArrayLike, prior: Prior) -> LogPosterior:
    """The log posterior of theta given observed points ``x`` (m, *shape).

    Args:
        model: A flow with a condition, or anything with ``log_prob(x, theta)``, such as a
            simulator that knows its likelihood.
        x: Observed points, independent given theta.
        prior: Distribution of theta, shape (k,): of FlowJAX, SciPy, torch or sbi, or a list of
            independent ones, see `as_prior`.

    Raises:
        ValueError: For shapes that do not fit the model.
        TypeError: For a prior that is none of these.

    Warns:
        Misspecified: If the points lie off the flow's manifold, farther than those of training.
        OutsideTraining: If the prior reaches beyond the parameters that the flow was trained on.
    """
    target = LogPosterior(log_likelihood(model, x), prior)
    expected = model.cond_shape if isinstance(model, Flow) else None
    if expected is not None and target.prior.shape != expected:
        raise ValueError(
            f"Expected a prior of shape {expected}, that of the flow's condition; got "
            f"{target.prior.shape}."
        )
    if isinstance(model, Flow):
        alarm_of_prior(model, target.prior)
    return target
