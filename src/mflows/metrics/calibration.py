r"""Coverage of highest-density regions: is a density as sure as it may be?

The level of a true value t among draws y_1 ... y_M from a density q that claims to know it,

    level = share of the draws with q(y) > q(t),

is the mass of the smallest region of highest density that contains t. If t is distributed by q,
the level is uniform on [0, 1]: a region of mass 90% contains 90% of the truths. This is the
expected coverage of Hermans et al. (2022, arXiv 2110.06581). A density that is over-confident
covers less than it claims; one that is too wide covers more.

Two uses: q is a posterior p(theta | x), one row of draws for each pair (theta, x) drawn from prior
and simulator; or q is a flow's own density, and the truths are held-out points. Only the order of
densities matters, so unnormalised ones will do. Uniform levels do not prove q right: the prior
itself has them, too.
"""

import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.stats import kstest

MASSES = (50, 90, 95)


def hpd_levels(
    log_prob_of_draws: ArrayLike, log_prob_of_truth: ArrayLike
) -> Float[np.ndarray, " trials"]:
    """Level of every truth, in (0, 1): uniform for a calibrated density.

    Args:
        log_prob_of_draws: Log-densities of M draws for each truth, shape (T, M), or (M,) if the
            draws serve all truths. Draws are taken as independent: thin a Markov chain first.
        log_prob_of_truth: Log-density of the truth, shape (T,), by the same q.

    Raises:
        ValueError: For other shapes, or NaN.
    """
    draws, truth = np.asarray(log_prob_of_draws), np.asarray(log_prob_of_truth)
    if truth.ndim != 1 or draws.shape[:-1] not in ((), truth.shape) or 0 in draws.shape:
        raise ValueError(
            "Expected log-densities of draws of shape (T, M) or (M,), and of truths of shape "
            f"(T,); got {draws.shape} and {truth.shape}."
        )
    if np.isnan(draws).any() or np.isnan(truth).any():
        raise ValueError("Expected log-densities without NaN.")
    denser = np.sum(draws > truth[:, None], axis=-1)
    return (denser + 0.5) / (draws.shape[-1] + 1)


def coverage(log_prob_of_draws: ArrayLike, log_prob_of_truth: ArrayLike) -> dict[str, float]:
    """Share of truths within the regions of mass 50, 90 and 95%, and a test of calibration.

    ``coverage_error`` is the largest difference between claimed and actual coverage over all
    masses (Kolmogorov-Smirnov), ``coverage_p`` its p-value. Arguments are those of `hpd_levels`.
    """
    level = hpd_levels(log_prob_of_draws, log_prob_of_truth)
    test = kstest(level, "uniform")
    within = {f"coverage_{mass}": float(np.mean(level <= mass / 100)) for mass in MASSES}
    return {**within, "coverage_error": float(test.statistic), "coverage_p": float(test.pvalue)}
