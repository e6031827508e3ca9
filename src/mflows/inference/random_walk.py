r"""Random-walk Metropolis, by BlackJAX, with an adapted proposal.

A step z + s L e, e ~ N(0, I), is accepted with probability min(1, p(z') / p(z)). It needs no
gradients, and many steps for each independent draw. During warmup the covariance L L^T and the
scale s follow the chain by stochastic approximation with gains t^-0.6 (Andrieu & Thoms 2008,
algorithm 4), the scale towards an acceptance of 0.44 in one dimension and 0.234 in more; then they
are fixed.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from blackjax.mcmc import random_walk
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from mflows.flow import Flow
from mflows.inference.alarms import alarm_at
from mflows.inference.chains import Draws, Posterior, collected, starting_points
from mflows.inference.posterior import LogPosterior, log_posterior
from mflows.inference.priors import Prior
from mflows.simulators import HasLogProb

_ACCEPTANCE = {1: 0.44}
_ACCEPTANCE_OF_MANY = 0.234
_FLOOR = 1e-6  # variance that keeps the proposal's covariance positive


def metropolis(
    key: PRNGKeyArray,
    model: Flow | HasLogProb,
    x: ArrayLike,
    prior: Prior,
    *,
    chains: int = 4,
    draws: int = 1250,
    warmup: int = 1000,
    thin: int = 10,
) -> Posterior:
    """Sample the posterior of theta given observed points ``x``.

    Arguments, result, errors and warnings are those of `nuts`, and

    Args:
        key: Random key.
        model: As for `nuts`, but need not be differentiable.
        x: Observed points, shape (m, *shape).
        prior: As for `nuts`.
        chains: Number of chains.
        draws: Draws kept of each chain.
        warmup: Steps of adaptation before them.
        thin: Steps for each draw that is kept.
    """
    target = log_posterior(model, x, prior)
    start_key, key = jr.split(key)
    starts = starting_points(start_key, target, chains)
    found = collected(target, _run(jr.split(key, chains), starts, target, warmup, draws, thin))
    alarm_at(model, x, found.pooled.mean(axis=0))
    return found


class _Proposal(NamedTuple):
    mean: Float[Array, " k"]
    covariance: Float[Array, "k k"]
    log_scale: Scalar

    def factor(self) -> Float[Array, "k k"]:
        floor = _FLOOR * jnp.eye(len(self.mean))
        return jnp.exp(self.log_scale) * jnp.linalg.cholesky(self.covariance + floor)

    def adapted(self, z, acceptance, step) -> "_Proposal":
        gain = (step + 1.0) ** -0.6
        aim = _ACCEPTANCE.get(len(z), _ACCEPTANCE_OF_MANY)
        offset = z - self.mean
        return _Proposal(
            self.mean + gain * offset,
            self.covariance + gain * (jnp.outer(offset, offset) - self.covariance),
            self.log_scale + gain * (acceptance - aim),
        )


@eqx.filter_jit
def _run(keys, starts, target: LogPosterior, warmup: int, draws: int, thin: int):
    kernel: Callable = random_walk.build_additive_step()

    def move(key, state, factor):
        return kernel(key, state, target.unconstrained, random_walk.normal(factor))

    def adapt(carry, inputs):
        (state, proposal), (key, step) = carry, inputs
        state, info = move(key, state, proposal.factor())
        return (state, proposal.adapted(state.position, info.acceptance_rate, step)), None

    def chain(key, z):
        warmup_key, key = jr.split(key)
        state = random_walk.init(z, target.unconstrained)
        first = _Proposal(z, jnp.eye(len(z)), jnp.log(2.38 / jnp.sqrt(len(z))))
        steps = jr.split(warmup_key, warmup), jnp.arange(warmup)
        (state, proposal), _ = jax.lax.scan(adapt, (state, first), steps)
        factor = proposal.factor()

        def several(state, keys):
            def once(state, key):
                state, info = move(key, state, factor)
                return state, info.acceptance_rate

            state, acceptance = jax.lax.scan(once, state, keys)
            return state, Draws(
                state.position, state.logdensity, acceptance.mean(), jnp.zeros((), bool)
            )

        return jax.lax.scan(several, state, jr.split(key, (draws, thin)))[1]

    return jax.vmap(chain)(keys, starts)
