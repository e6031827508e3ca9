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
from mflows.inference.likelihood import LogLikelihood, log_likelihood
from mflows.inference.supports import support
from mflows.simulators import HasLogProb


class LogPosterior(eqx.Module):
    """A callable theta -> log posterior in nats, up to a constant; ``-inf`` outside the prior.

    Args:
        likelihood: Log-likelihood of one theta of shape (k,).
        prior: Distribution of theta.
    """

    likelihood: LogLikelihood
    prior: AbstractDistribution
    support: AbstractBijection

    def __init__(self, likelihood: LogLikelihood, prior: AbstractDistribution):
        if len(prior.shape) != 1 or prior.cond_shape is not None:
            raise ValueError(
                "Expected an unconditional prior of shape (k,); got shape "
                f"{prior.shape} and condition {prior.cond_shape}."
            )
        self.likelihood = likelihood
        self.prior = unwrap(prior)
        self.support = unwrap(support(prior))

    def __call__(self, theta: Float[Array, " k"]) -> Scalar:
        return self.likelihood(theta) + self.prior._log_prob(theta)

    def unconstrained(self, z: Float[Array, " k"]) -> Scalar:
        """Log posterior density of the unconstrained coordinates z."""
        theta, log_det = self.support.transform_and_log_det(z)
        return self(theta) + log_det


def log_posterior(
    model: Flow | HasLogProb, x: ArrayLike, prior: AbstractDistribution
) -> LogPosterior:
    """The log posterior of theta given observed points ``x`` (m, *shape).

    Args:
        model: A flow with a condition, or anything with ``log_prob(x, theta)``, such as a
            simulator that knows its likelihood.
        x: Observed points, independent given theta.
        prior: FlowJAX distribution of shape (k,).

    Raises:
        ValueError: For shapes that do not fit the model.
    """
    target = LogPosterior(log_likelihood(model, x), prior)
    expected = model.cond_shape if isinstance(model, Flow) else None
    if expected is not None and prior.shape != expected:
        raise ValueError(
            f"Expected a prior of shape {expected}, that of the flow's condition; got "
            f"{prior.shape}."
        )
    return target
