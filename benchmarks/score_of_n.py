"""Does the estimator's score find the dimension of data whose dimension is known?

    python benchmarks/score_of_n.py [--seeds 3]

A curve, a sheet and a solid in R^4, every column of unit variance, without noise and with .05 of
it. M-flows of n = 1, 2 and 3 and an ambient flow are trained on 1,000 rows each and scored on 1,000
others, by ``score`` and by the mean of ``score_samples``, the density on the manifold.
"""

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import mflows as mf
from mflows.verdict import Doubt

SHAPES: dict[str, tuple[int, Callable]] = {
    "curve": (1, lambda a, b, c: (a, a**2, np.sin(2 * a) + a**2 / 2, a**3)),
    "sheet": (2, lambda a, b, c: (a, b, a**2 - b**2, np.sin(2 * a))),
    "solid": (3, lambda a, b, c: (a, b, c, np.sin(2 * a) + b * c)),
}
ROWS = 1000
SPLINES: dict[str, Any] = {"epochs": 100, "bins": 6, "width": 24, "batch_size": 100}
LAYERS: dict[str, Any] = {"chart_layers": 3, "latent_layers": 2}
AMBIENT: dict[str, Any] = {"model": "af", "settings": {"layers": 6}}


def rows(shape: str, noise: float, seed: int) -> np.ndarray:
    """Training rows and as many to score, shape (2000, 4)."""
    draw = SHAPES[shape][1]

    def drawn(rng, count):
        return np.stack(draw(*rng.uniform(-1, 1, (3, count))), axis=1)

    rng = np.random.default_rng(seed)
    x = drawn(rng, 2 * ROWS) / drawn(np.random.default_rng(99), 5 * ROWS).std(axis=0)
    return x + noise * rng.normal(size=x.shape)


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description="Does the score find n?")
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    table = Table("data", "noise", "seed", *(f"score, n = {n}" for n in (1, 2, 3)), "score, AF")
    for n in (1, 2, 3):
        table.add_column(f"on the manifold, n = {n}")
    found = {"score": 0, "on the manifold": 0}
    for shape, (known, _) in SHAPES.items():
        for noise in (0.05, 0.0):
            for seed in range(seeds):
                x = rows(shape, noise, seed)
                scores, densities = [], []
                for n in (1, 2, 3, None):
                    own = AMBIENT if n is None else LAYERS
                    flow = mf.ManifoldFlow(n, random_state=seed, **SPLINES, **own).fit(x[:ROWS])
                    scores.append(flow.score(x[ROWS:]))
                    densities.append(flow.score_samples(x[ROWS:]).mean())
                for name, values in (("score", scores), ("on the manifold", densities)):
                    found[name] += int(np.argmax(values[:3])) + 1 == known
                numbers = [f"{value:.2f}" for value in (*scores, *densities[:3])]
                table.add_row(f"{shape} ({known})", f"{noise:g}", str(seed), *numbers)
    console = Console(width=140)
    console.print(table)
    for name, count in found.items():
        console.print(f"{name}: the known n in {count} of {len(SHAPES) * 2 * seeds}")


if __name__ == "__main__":
    warnings.simplefilter("ignore", Doubt)
    main()
