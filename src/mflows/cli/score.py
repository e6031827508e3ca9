"""``mflows score``: density and distance of every row of a table."""

from mflows.cli.options import Output, RunFolder, Table


def score(run: RunFolder, data: Table, out: Output) -> None:
    """Write log_prob and distance of every row of a table.

    Read the two together: log_prob is the density on the manifold at the point's projection,
    distance is how far off the manifold the point lies. For a conditional flow the table holds the
    condition's columns too.

    **Example**

        mflows score runs/galaxies new.csv --out scores.csv
    """
    from mflows import runs
    from mflows.data import check_output, save_table

    check_output(out)
    opened = runs.open_run(run)
    found = opened.score(opened.load(data))
    save_table(out, {"log_prob": found.log_prob, "distance": found.distance})
    print(
        f"Wrote {len(found.log_prob):,} rows to {out}: mean log_prob {found.log_prob.mean():.4g}, "
        f"mean distance {found.distance.mean():.4g}."
    )
