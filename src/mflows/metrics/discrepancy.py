r"""Maximum mean discrepancy (Gretton et al. 2012, JMLR 13, 723): how far apart two samples are.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),      k(x, y) = exp(-|x - y|^2 / (2 h^2))

Means over pairs of *different* points make the estimate unbiased, so it is negative about as often
as not where both samples have one distribution. The bandwidth h is the median distance between
points of the reference sample. That is also the published normalisation (Brehmer & Cranmer 2020):
2 (S_x + S_y - S_xy), where S_x and S_y divide a sum over unordered pairs by n (n - 1).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import ArrayLike
from scipy.spatial.distance import cdist, pdist

_BLOCK = 1000  # rows of the kernel matrix at once
_PAIRED = 5000  # points whose distances give the bandwidth: 12.5 million pairs, 100 MB


def mmd(
    samples: ArrayLike, reference: ArrayLike, *, bandwidth: float | None = None
) -> dict[str, float]:
    """Unbiased estimate of the squared maximum mean discrepancy, and the bandwidth it has.

    Args:
        samples: Sample to judge, shape (N, D); at least two points.
        reference: Sample to judge it by, shape (M, D).
        bandwidth: h of the Gaussian kernel, in the units of the samples; by default the median
            distance within the reference (of every k-th point, if it has more than 5000).

    Raises:
        ValueError: For other shapes, or a bandwidth that is not positive.
    """
    x, y = two_samples(samples, reference)
    h = float(np.median(pdist(y[:: -(-len(y) // _PAIRED)]))) if bandwidth is None else bandwidth
    if not h > 0:
        raise ValueError(
            f"Expected a positive bandwidth; got {h}. Are most points of the reference equal?"
        )

    def gaussian(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(cdist(a, b, "sqeuclidean") / (-2 * h**2))

    return {"mmd2": mean_discrepancy(x, y, gaussian), "mmd_bandwidth": h}


Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From points (N, D) and (M, D) to the N x M matrix of their kernel."""


def mean_discrepancy(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> float:
    """Unbiased estimate of MMD^2 for any kernel, from samples of shapes (N, D) and (M, D)."""
    within = [_sum(kernel, a, a, paired=True) / (len(a) * (len(a) - 1)) for a in (x, y)]
    between = _sum(kernel, x, y, paired=False) / (len(x) * len(y))
    return float(sum(within) - 2 * between)


def two_samples(samples: ArrayLike, reference: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of shapes (N, D) and (M, D) with N, M >= 2; ``ValueError`` for others."""
    x, y = (np.asarray(sample, dtype=np.float64) for sample in (samples, reference))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            "Expected two samples of shapes (N, D) and (M, D), two points or more in each; "
            f"got {x.shape} and {y.shape}."
        )
    return x, y


def _sum(kernel: Kernel, x: np.ndarray, y: np.ndarray, *, paired: bool) -> float:
    """Sum of the kernel over pairs, without those of a point with itself if both are one sample."""
    total = 0.0
    for start in range(0, len(x), _BLOCK):
        block = kernel(x[start : start + _BLOCK], y)
        total += block.sum() - (np.trace(block, offset=start) if paired else 0.0)
    return total
