"""``mflows score``: density and distance of every row of a table."""

import warnings

from mflows.cli.jax_setup import open_run
from mflows.cli.options import Output, RunFolder, Table
from mflows.cli.progress import in_pieces


def score(run: RunFolder, data: Table, out: Output) -> None:
    """Write log_prob and distance of every row of a table.

    Read the two together: log_prob is the density on the manifold at the point's projection,
    distance is how far off the manifold the point lies. For a conditional flow the table holds the
    condition's columns too. A .npy, .h5 or .parquet file may be larger than memory.

    **Example**

        mflows score runs/galaxies new.csv --out scores.csv
    """
    import jax
    import numpy as np

    from mflows.data import check_output, save_table

    check_output(out)
    opened = open_run(run)
    scores = [opened.score(piece) for piece in in_pieces(opened, data)]
    found = jax.tree.map(lambda *parts: np.concatenate(parts), *scores)
    doubtful = int(found.ill_conditioned.sum())
    save_table(out, {"log_prob": found.log_prob, "distance": found.distance})
    print(
        f"Wrote {len(found.log_prob):,} rows to {out}: mean log_prob {found.log_prob.mean():.4g}, "
        f"mean distance {found.distance.mean():.4g}."
    )
    if doubtful:
        warnings.warn(
            f"The chart is ill-conditioned at {doubtful:,} of {len(found.log_prob):,} rows: their "
            "log_prob may be off by .01 nats and more. Fit with --precision float64, or with fewer "
            "latent dimensions.",
            stacklevel=1,
        )
