"""The corner plot of a posterior: every parameter, and every pair of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike

SIZE = 2.4
"""Inches of each panel."""


def corner(
    path: str | Path,
    samples: ArrayLike,
    names: Sequence[str] = (),
    *,
    truth: ArrayLike | None = None,
) -> Path:
    """Write a corner plot, in the format of the file's suffix; returns the path.

    Contours hold 39, 68 and 95% of the samples; above each column are its median and the 68%
    interval around it.

    Args:
        path: File to write.
        samples: ``Posterior.samples``, shape (chains, draws, k), or ``Posterior.pooled``.
        names: Names of the k parameters.
        truth: The true parameters, shape (k,), where they are known.

    Raises:
        ValueError: For other shapes.
    """
    import corner  # and Matplotlib: slow to import, and no report needs them
    from matplotlib.figure import Figure

    pooled = np.asarray(samples, dtype=float)
    pooled = pooled.reshape(-1, pooled.shape[-1]) if pooled.ndim == 3 else pooled
    if pooled.ndim != 2:
        raise ValueError(
            f"Expected samples of shape (chains, draws, k) or (N, k); got {np.shape(samples)}."
        )
    size = pooled.shape[1]
    names = list(names) or [f"theta{i}" for i in range(size)]
    true = None if truth is None else np.asarray(truth, dtype=float)
    if len(names) != size or (true is not None and true.shape != (size,)):
        given = "none" if true is None else f"shape {true.shape}"
        raise ValueError(
            f"Expected names of {size} parameters, and true values of shape ({size},) if any; got "
            f"{len(names)} names and true values: {given}."
        )
    figure = Figure(figsize=(SIZE * size, SIZE * size))
    corner.corner(
        pooled,
        labels=names,
        truths=None if true is None or size == 1 else true.tolist(),
        levels=(0.39, 0.68, 0.95),
        quantiles=(0.16, 0.5, 0.84),
        show_titles=True,
        fig=figure,
    )
    if true is not None and size == 1:  # which corner cannot draw
        figure.axes[0].axvline(float(true[0]), color="#4682b4")
    figure.savefig(path, bbox_inches="tight")
    return Path(path)
