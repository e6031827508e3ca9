"""Chains of a sampler: where they start, and what they found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from mflows.inference.diagnostics import Diagnostics, diagnose
from mflows.inference.posterior import LogPosterior

if TYPE_CHECKING:
    import polars as pl

_TRIES = 16  # points drawn from the prior for each chain that needs a start


class Draws(NamedTuple):
    """What a sampler keeps of every step, each with leading axes (chains, draws)."""

    z: Float[Array, "*batch k"]
    log_prob: Float[Array, "*batch"]
    acceptance: Float[Array, "*batch"]
    divergent: Bool[Array, "*batch"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Samples of a posterior.

    Attributes:
        samples: Parameters theta, shape (chains, draws, k).
        log_prob: Log posterior density of each in nats, up to a constant, shape (chains, draws).
        acceptance: Mean acceptance probability of each chain, shape (chains,).
        divergences: Number of steps on which the integrator diverged (of NUTS only).
        diagnostics: Convergence of every parameter.
    """

    samples: Float[np.ndarray, "chains draws k"]
    log_prob: Float[np.ndarray, "chains draws"]
    acceptance: Float[np.ndarray, " chains"]
    divergences: int
    diagnostics: Diagnostics

    @property
    def pooled(self) -> Float[np.ndarray, "N k"]:
        """The samples of all chains, shape (chains * draws, k)."""
        return self.samples.reshape(-1, self.samples.shape[-1])

    def summary(self, names: tuple[str, ...] = ()) -> "pl.DataFrame":
        """A table with one row for each parameter: location, spread, convergence."""
        import polars as pl

        theta = self.pooled
        names = names or tuple(f"theta{i}" for i in range(theta.shape[1]))
        low, median, high = np.quantile(theta, (0.05, 0.5, 0.95), axis=0)
        columns = {"mean": theta.mean(0), "sd": theta.std(0, ddof=1)}
        columns |= {"5%": low, "median": median, "95%": high}
        return pl.DataFrame({"name": list(names), **columns, **self.diagnostics._asdict()})


def starting_points(
    key: PRNGKeyArray, target: LogPosterior, chains: int
) -> Float[Array, "chains k"]:
    """Unconstrained coordinates of points drawn from the prior, one for each chain.

    Raises:
        ValueError: If the log posterior is finite at too few of them.
    """
    z, log_prob = _candidates(jr.split(key, _TRIES * chains), target)
    finite = jnp.isfinite(log_prob)
    if (count := int(finite.sum())) < chains:
        raise ValueError(
            "Expected a finite log posterior where the prior is; it is finite at "
            f"{count} of {len(z)} points drawn from the prior. Are the observed points in the "
            "units of the model, and is the prior within the range of theta it was trained on?"
        )
    return z[jnp.flatnonzero(finite)[:chains]]


@eqx.filter_jit
def _candidates(keys, target: LogPosterior):
    z = jax.vmap(lambda key: target.support.inverse(target.prior._sample(key)))(keys)
    return z, jax.vmap(target.unconstrained)(z)


def collected(target: LogPosterior, drawn: Draws) -> Posterior:
    """The posterior of unconstrained draws, diagnosed: warns of chains not to be trusted."""
    theta, log_det = _constrained(target, drawn.z)
    samples = np.asarray(theta)
    divergences = int(drawn.divergent.sum())
    return Posterior(
        samples,
        np.asarray(drawn.log_prob - log_det),
        np.asarray(drawn.acceptance.mean(axis=1)),
        divergences,
        diagnose(samples, divergences=divergences),
    )


@eqx.filter_jit
def _constrained(target: LogPosterior, z: Float[Array, "chains draws k"]):
    return jax.vmap(jax.vmap(target.support.transform_and_log_det))(z)
