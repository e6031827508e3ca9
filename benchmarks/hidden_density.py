r"""How near does a flow of x come to the density of the hidden causes of x?

    python benchmarks/hidden_density.py [--causes 5 --features 20 --rows 20000] [--seeds 1]

    z ~ (N(m_1, S_1) + N(m_2, S_2) + N(m_3, S_3)) / 3 in R^n,  x = W_2 sin(W_1 z + b) in R^D

with fixed random numbers, so that the log-density of every x is known. An ambient flow of the true
z shows what could be had; the systems see x alone. All train as ``mflows fit`` does by default. The
error is the mean of |log p_model - log p_true| of 2,000 new points, in nats. On a learned manifold
it has two parts: that of the density of the flow's own coordinates u, whose truth is known by
du/dz, and that of the manifold. The distance is the mean one to it.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import MultivariateNormal
from jaxtyping import Array
from paramax import unwrap
from rich.console import Console
from rich.table import Table

from mflows.runs import Config, train

MODES, WAVES, NEW = 3, 64, 2000
APART, WIDE, LEAST, FREQUENCY, HEIGHT = 2.0, 0.5, 0.2, 1.5, 1.4


class Hidden:
    """Three correlated normals in R^n, and a smooth random embedding of R^n into R^D."""

    def __init__(self, causes: int, features: int):
        rng = np.random.default_rng(features)
        means = APART * rng.normal(size=(MODES, causes)) / np.sqrt(causes)
        mixed = WIDE * rng.normal(size=(MODES, causes, causes)) / np.sqrt(causes)
        covariances = mixed @ np.swapaxes(mixed, 1, 2) + LEAST**2 * np.eye(causes)
        self.modes = [MultivariateNormal(*each) for each in zip(means, covariances, strict=True)]
        rng = np.random.default_rng(7)
        self.inner = rng.normal(size=(WAVES, causes)) * FREQUENCY / np.sqrt(causes)
        self.phase = rng.uniform(0, 2 * np.pi, size=WAVES)
        self.outer = HEIGHT * rng.normal(size=(features, WAVES)) / np.sqrt(WAVES)

    def causes(self, seed: int, count: int) -> Array:
        """Draw z, shape (count, n)."""
        key, mode_key = jr.split(jr.key(seed))
        each = jnp.stack(
            [mode.sample(jr.fold_in(key, i), (count,)) for i, mode in enumerate(self.modes)]
        )
        return each[jr.randint(mode_key, (count,), 0, MODES), jnp.arange(count)]

    def embed(self, z: Array) -> Array:
        """The features of z."""
        return jnp.sin(z @ self.inner.T + self.phase) @ self.outer.T

    def log_prob_of_causes(self, z: Array) -> np.ndarray:
        """Log-density in R^n."""
        each = jnp.stack([mode.log_prob(z) for mode in self.modes])
        return np.asarray(jax.nn.logsumexp(each, axis=0) - np.log(MODES))

    def log_prob(self, z: Array) -> np.ndarray:
        """Log-density of the features of z, with respect to volume on their manifold."""
        jacobian = jax.vmap(jax.jacfwd(self.embed))(z)
        singular = np.linalg.svd(np.asarray(jacobian), compute_uv=False)
        return self.log_prob_of_causes(z) - np.log(singular).sum(axis=1)


def measured(hidden: Hidden, model: str, rows: int, seed: int, settings: dict) -> list[str]:
    """Train one system and measure its log-density at new points; ``truth`` is the flow of z."""
    z, new = hidden.causes(2 * seed, rows), hidden.causes(2 * seed + 1, NEW)
    of_causes = model == "truth"
    given = [np.asarray(each if of_causes else hidden.embed(each)) for each in (z, new)]
    truth = hidden.log_prob_of_causes(new) if of_causes else hidden.log_prob(new)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, given[0])
        n = None if model in ("truth", "af") else z.shape[1]
        name = "af" if of_causes else model
        started = time.process_time()
        settings = {} if of_causes else settings
        config = Config(data=str(path), model=name, latent_dim=n, seed=seed, settings=settings)
        run = train(Path(folder) / "run", config)
        spent = time.process_time() - started
    flow = run.flow
    log_prob = np.asarray(flow.log_prob(given[1]))
    error = log_prob - truth
    cells = [f"{np.abs(error).mean():.3f}", f"{-error.mean():.3f}"]
    if n is None:
        cells += ["-"] * 3
    else:
        coordinates = jax.vmap(jax.jacfwd(lambda z: flow.encode(hidden.embed(z))))(new)
        known = hidden.log_prob_of_causes(new) - np.linalg.slogdet(np.asarray(coordinates))[1]
        latent = jax.vmap(unwrap(flow).latent_log_prob)(flow.encode(given[1]))
        of_density = np.asarray(latent) - known
        cells += [f"{np.abs(of_density).mean():.3f}", f"{np.abs(error - of_density).mean():.3f}"]
        cells.append(f"{np.asarray(flow.distance(given[1])).mean():.3f}")
    epochs = {row["phase"]: row["epoch"] for row in run.history}
    return [*cells, "+".join(map(str, epochs.values())), f"{spent:.0f}"]


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description="Densities of hidden causes.")
    for name, default in (("causes", 5), ("features", 20), ("rows", 20_000), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--models", default="truth,m-flow,me-flow,pae")
    parser.add_argument("--settings", default="{}", help="of the systems, as JSON")
    given = parser.parse_args()
    hidden = Hidden(given.causes, given.features)
    headings = ("error", "KL", "of the density", "of the manifold", "distance", "epochs", "CPU s")
    table = Table("system", "seed", *headings)
    for seed in range(given.seeds):
        for model in given.models.split(","):
            cells = measured(hidden, model, given.rows, seed, json.loads(given.settings))
            table.add_row(model, str(seed), *cells)
            print(json.dumps([model, seed, *cells]), flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
