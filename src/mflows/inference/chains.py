"""Chains of a sampler: where they start, and what they found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from mflows.inference.diagnostics import Diagnostics, diagnose, imported_arviz
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

    def summary(self, names: Sequence[str] = ()) -> "pl.DataFrame":
        """A table with one row for each parameter: location, spread, convergence."""
        theta = self.pooled
        low, median, high = np.quantile(theta, (0.05, 0.5, 0.95), axis=0)
        columns = {"mean": theta.mean(0), "sd": theta.std(0, ddof=1)}
        columns |= {"5%": low, "median": median, "95%": high}
        return shown_whole({"name": self._named(names), **columns, **self.diagnostics._asdict()})

    def to_arviz(self, names: Sequence[str] = ()) -> Any:
        """The chains for ArviZ, a variable for each parameter.

        An ``xarray.DataTree`` with ArviZ 1, an ``InferenceData`` with the versions before it: group
        ``posterior`` has the samples, ``sample_stats`` the log posterior ``lp``.
        """
        arviz = imported_arviz()
        names = self._named(names)
        theta = np.asarray(self.samples, dtype=np.float64)
        groups = {
            "posterior": {name: theta[..., i] for i, name in enumerate(names)},
            "sample_stats": {"lp": np.asarray(self.log_prob, dtype=np.float64)},
        }
        early = int(arviz.__version__.partition(".")[0]) < 1
        return arviz.from_dict(**groups) if early else arviz.from_dict(groups)

    def _named(self, names: Sequence[str]) -> list[str]:
        """Names of the k parameters; ``ValueError`` for another number of them."""
        size = self.samples.shape[-1]
        names = list(names) or [f"theta{i}" for i in range(size)]
        if len(names) != size:
            raise ValueError(f"Expected names of {size} parameters; got {names}.")
        return names


def shown_whole(columns: dict) -> "pl.DataFrame":
    """A table of which a terminal shows every column and row."""
    import polars as pl

    class Whole(pl.DataFrame):
        def __str__(self) -> str:
            with pl.Config(tbl_cols=-1, tbl_rows=-1, tbl_width_chars=160, float_precision=4):
                return super().__str__()

        __repr__ = __str__

    return Whole(columns)


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
