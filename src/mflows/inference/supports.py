r"""Bijections from R^k to the support of a prior, for samplers that know no bounds.

A uniform prior becomes a standard normal z with theta = low + (high - low) Phi(z), where Phi is the
normal distribution function; a gamma prior is sampled in its logarithm. Scales and transformations
of the prior are part of the bijection, so z has the units of the prior: about 1.

Phi rather than the logistic function: a posterior that does not vanish at a bound has normal tails
in z, not exponential ones, and the samplers mix better.
"""

from functools import singledispatch

from flowjax.bijections import AbstractBijection, Chain, Exp, Identity
from flowjax.distributions import (
    AbstractDistribution,
    AbstractTransformed,
    Beta,
    Exponential,
    Gamma,
    Uniform,
)

from mflows.layers.box import NormalCDF


@singledispatch
def support(prior: AbstractDistribution) -> AbstractBijection:
    """The bijection z -> theta from R^k to where ``prior`` has density.

    Known for FlowJAX's distributions and transformations of them. Any other is taken to have all
    of R^k; ``support.register`` the bijection of one that has not.
    """
    return Identity(prior.shape)


@support.register
def _(prior: AbstractTransformed):
    return Chain([support(prior.base_dist), prior.bijection])


@support.register
def _(prior: Uniform):
    return Chain([NormalCDF(prior.shape), prior.bijection])


@support.register
def _(prior: Beta):
    return NormalCDF(prior.shape)


@support.register(Exponential)
@support.register(Gamma)
def _(prior: AbstractTransformed):
    return Chain([Exp(prior.shape), prior.bijection])
