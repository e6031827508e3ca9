r"""Distances of two sets of images, or of anything, by features of them.

Of the normal distributions with their means and covariances, the squared 2-Wasserstein distance
(Dowson & Landau 1982; of image features Heusel et al. 2017, arXiv 1706.08500):

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))

With centred features A of shape (N, d), S_a = A^T A / (N - 1) = R_a^T R_a, R_a from a QR
decomposition, the last trace is the sum of the singular values of R_a R_b^T. No matrix is squared
and no root is taken of what rounding made negative, so fewer points than features do no harm.

Without an assumption about the features, the squared maximum mean discrepancy for the kernel

    k(x, y) = (x . y / d + 1)^3     (Binkowski et al. 2018, arXiv 1801.01401).

Both depend on the features: name them with the number, as in
``frechet_distance[efficientnet-lite0]`` for those of `mflows.nets.image_features`. Only with
features of the Inception network of 2015 are they what tables call FID and KID.
"""

import numpy as np
from jaxtyping import ArrayLike

from mflows.metrics.discrepancy import mean_discrepancy, two_samples


def frechet_distance(samples: ArrayLike, reference: ArrayLike) -> dict[str, float]:
    """Squared distance of the normal distributions of two sets of features.

    It is biased: sets of one distribution are the farther apart, the fewer points there are for
    the number of features. Compare numbers of as many points only, 10,000 or more for a thousand
    features, and take `kernel_distance` for fewer.

    Args:
        samples: Features of the samples to judge, shape (N, d); at least two.
        reference: Features of those to judge them by, shape (M, d).

    Raises:
        ValueError: For other shapes.
    """
    x, y = two_samples(samples, reference)
    means, roots = zip(*map(_mean_and_root, (x, y)), strict=True)
    spread = sum(np.sum(root**2) for root in roots)
    common = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return {"frechet_distance": float(np.sum((means[0] - means[1]) ** 2) + spread - 2 * common)}


def kernel_distance(samples: ArrayLike, reference: ArrayLike) -> dict[str, float]:
    """Squared maximum mean discrepancy of two sets of features, for a cubic kernel, unbiased.

    It is negative about as often as not where both have one distribution. It takes of the order of
    N M d operations.

    Args:
        samples: Features of the samples to judge, shape (N, d); at least two.
        reference: Features of those to judge them by, shape (M, d).

    Raises:
        ValueError: For other shapes.
    """
    x, y = two_samples(samples, reference)
    dim = x.shape[1]
    return {"kernel_distance": mean_discrepancy(x, y, lambda a, b: (a @ b.T / dim + 1) ** 3)}


def _mean_and_root(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of rows and a matrix R with R^T R their covariance."""
    mean = x.mean(axis=0)
    return mean, np.linalg.qr(x - mean, mode="r") / np.sqrt(len(x) - 1)
