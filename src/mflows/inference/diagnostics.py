r"""Have the chains converged?

What Vehtari et al. (2021, arXiv 1903.08008) recommend to look at, by ArviZ:

* split R-hat: spread of all half-chains together over the spread within them; 1 if they agree;
* effective sample size (ESS): how many independent draws would estimate the middle (bulk) or the
  5% and 95% quantiles (tail) as well;
* divergences: steps at which the integrator of NUTS lost the energy, in regions of high curvature
  that the chains then miss.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

MAX_R_HAT = 1.01
MIN_ESS = 400


class SamplingWarning(UserWarning):
    """The samples should not be trusted yet; the message says what to do."""


class Diagnostics(NamedTuple):
    """Convergence of each of the k parameters."""

    r_hat: Float[np.ndarray, " k"]
    ess_bulk: Float[np.ndarray, " k"]
    ess_tail: Float[np.ndarray, " k"]


def imported_arviz() -> Any:
    """ArviZ, without the next major version that 0.23 announces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


def diagnose(samples: Float[np.ndarray, "chains draws k"], *, divergences: int = 0) -> Diagnostics:
    """Measure convergence, and warn (`SamplingWarning`) where it falls short.

    It does for an R-hat above 1.01, an effective sample size below 400, or any divergence.
    """
    arviz = imported_arviz()
    chains = arviz.convert_to_dataset({"theta": samples.astype(np.float64)})
    with np.errstate(divide="ignore", invalid="ignore"):  # R-hat is infinite of chains that stay
        table = arviz.summary(chains, kind="diagnostics", round_to="none")
    found = Diagnostics(*(table[name].to_numpy() for name in Diagnostics._fields))
    if problems := _problems(found, divergences):
        warnings.warn(" ".join(problems), SamplingWarning, stacklevel=4)
    return found


def _problems(found: Diagnostics, divergences: int) -> list[str]:
    problems = []
    r_hat, ess = found.r_hat.max(), min(found.ess_bulk.min(), found.ess_tail.min())
    if not r_hat <= MAX_R_HAT:  # NaN for a chain that never moved
        problems.append(
            f"The chains disagree: R-hat is {r_hat:.3f}, above {MAX_R_HAT}. Use more warmup and "
            "draws; if it stays, the posterior may have several modes."
        )
    if not ess >= MIN_ESS:
        problems.append(
            f"Few independent draws: the effective sample size is {ess:.0f}, below {MIN_ESS}. Use "
            "more draws (or a larger thin, for metropolis)."
        )
    if divergences:
        problems.append(
            f"{divergences} divergent steps: a part of the posterior is missed. Raise "
            "target_acceptance (0.95, 0.99), or use a prior that does not end in a cusp."
        )
    return problems
