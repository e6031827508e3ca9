r"""The No-U-Turn sampler (Hoffman & Gelman 2014, arXiv 1111.4246), by BlackJAX.

Hamiltonian trajectories in the unconstrained coordinates of the prior, followed until they turn
back. Warmup adapts step size and (dense) mass matrix in windows, for each chain by itself.
"""

from collections.abc import Callable

import blackjax
import equinox as eqx
import jax
import jax.random as jr
from blackjax.adaptation.base import get_filter_adapt_info_fn
from blackjax.mcmc.nuts import build_kernel
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mflows.flow import Flow
from mflows.inference.alarms import alarm_at
from mflows.inference.chains import Draws, Posterior, collected, starting_points
from mflows.inference.posterior import LogPosterior, log_posterior
from mflows.inference.priors import Prior
from mflows.simulators import HasLogProb


def nuts(
    key: PRNGKeyArray,
    model: Flow | HasLogProb,
    x: ArrayLike,
    prior: Prior,
    *,
    chains: int = 4,
    draws: int = 500,
    warmup: int = 400,
    target_acceptance: float = 0.8,
) -> Posterior:
    """Sample the posterior of theta given observed points ``x``.

    Args:
        key: Random key.
        model: A flow with a condition, or anything with ``log_prob(x, theta)``, such as a
            simulator that knows its likelihood. Must be differentiable in theta.
        x: Observed points, shape (m, *shape), independent given theta.
        prior: Distribution of theta, shape (k,): of FlowJAX, SciPy, torch or sbi, or a list of
            independent ones, see `as_prior`. Keep it within the range of theta on which a flow
            was trained.
        chains: Number of chains; they run side by side.
        draws: Draws kept of each chain.
        warmup: Steps of adaptation before them.
        target_acceptance: Acceptance probability at which the step size aims.

    Returns:
        The samples, shape (chains, draws, k), with their diagnostics.

    Raises:
        ValueError: For shapes that do not fit, or a log posterior that is not finite.
        TypeError: For a prior that is none of these.

    Warns:
        SamplingWarning: If the chains have not converged; it says what to do.
        Misspecified: If the points lie off the flow's manifold, farther than those of training;
            where the manifold depends on theta, off that at the posterior mean.
        OutsideTraining: If the prior reaches beyond the parameters that the flow was trained on.
    """
    target = log_posterior(model, x, prior)
    start_key, key = jr.split(key)
    starts = starting_points(start_key, target, chains)
    keys = jr.split(key, chains)
    found = collected(target, _run(keys, starts, target, warmup, draws, target_acceptance))
    alarm_at(model, x, found.pooled.mean(axis=0))
    return found


@eqx.filter_jit
def _run(keys, starts, target: LogPosterior, warmup: int, draws: int, target_acceptance: float):
    settings = warmup, draws, target_acceptance
    return jax.vmap(lambda key, z: chain(key, z, target, *settings))(keys, starts)


def chain(
    key: PRNGKeyArray,
    z: Float[Array, " k"],
    target: LogPosterior,
    warmup: int,
    draws: int,
    target_acceptance: float,
) -> Draws:
    """One chain from unconstrained coordinates, adapted first."""
    log_density = jax.jit(lambda z: target.unconstrained(z))  # traced once for all that call it
    adapt: Callable = blackjax.window_adaptation(
        blackjax.nuts,
        log_density,
        is_mass_matrix_diagonal=False,
        target_acceptance_rate=target_acceptance,
        adaptation_info_fn=get_filter_adapt_info_fn(),
    ).run
    kernel: Callable = build_kernel()
    warmup_key, key = jr.split(key)
    (state, tuned), _ = adapt(warmup_key, z, warmup)
    tuned = tuned["step_size"], tuned["inverse_mass_matrix"]

    def step(state, key):
        state, info = kernel(key, state, log_density, *tuned)
        kept = state.position, state.logdensity, info.acceptance_rate, info.is_divergent
        return state, Draws(*kept)

    return jax.lax.scan(step, state, jr.split(key, draws))[1]
