r"""Maximum mean discrepancy (Gretton et al. 2012, JMLR 13, 723): how far apart two samples are.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),      k(x, y) = exp(-|x - y|^2 / (2 h^2))

Means over pairs of *different* points make the estimate unbiased, so it is negative about as often
as not where both samples have one distribution. The bandwidth h is the median distance between
points of the reference sample. That is also the published normalisation (Brehmer & Cranmer 2020):
2 (S_x + S_y - S_xy), where S_x and S_y divide a sum over unordered pairs by n (n - 1).
"""

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
    x, y = (np.asarray(sample, dtype=np.float64) for sample in (samples, reference))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            "Expected two samples of shapes (N, D) and (M, D), two points or more in each; "
            f"got {x.shape} and {y.shape}."
        )
    h = float(np.median(pdist(y[:: -(-len(y) // _PAIRED)]))) if bandwidth is None else bandwidth
    if not h > 0:
        raise ValueError(
            f"Expected a positive bandwidth; got {h}. Are most points of the reference equal?"
        )
    # A sum over all pairs counts every point with itself, for which the kernel is 1.
    within = [(_kernel_sum(a, a, h) - len(a)) / (len(a) * (len(a) - 1)) for a in (x, y)]
    between = _kernel_sum(x, y, h) / (len(x) * len(y))
    return {"mmd2": float(sum(within) - 2 * between), "mmd_bandwidth": h}


def _kernel_sum(x: np.ndarray, y: np.ndarray, h: float) -> float:
    blocks = (x[i : i + _BLOCK] for i in range(0, len(x), _BLOCK))
    return sum(np.exp(cdist(block, y, "sqeuclidean") / (-2 * h**2)).sum() for block in blocks)
