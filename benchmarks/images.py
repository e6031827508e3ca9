"""Images: what an exact likelihood, a step and its memory cost, beside other libraries.

    python benchmarks/images.py [--quick]

First 64 x 64 x 3 pixels on a manifold of 64 dimensions: the exact log-likelihood beside D reverse
passes of the same chart, of which eight are timed and multiplied to D; then a step of the manifold
phase with 25 images, and the largest memory of a process that makes such steps. Last, at 32 x 32 x
3, steps beside the same in torch: a multi-scale flow of nflows' parts (Glow, arXiv 1807.03039), and
the autoencoder of `mflows.nets`. All on one thread.
"""

# ruff: noqa: I001  (timing comes first: it sets threads)
# torch and nflows are installed with the extra `benchmarks` only.
from timing import Call, measure, milliseconds, ratio

import argparse
import resource
import subprocess
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from ours import disturbed, training
from rich.console import Console
from rich.table import Table

from mflows.flow import Flow
from mflows.models import ambient_flow, m_flow, pae
from mflows.training import NegativeLogLikelihood, Reconstruction
from mflows.training.epoch import trainable

LARGE, SMALL = (64, 64, 3), (32, 32, 3)
LATENT_DIM, BATCH, PASSES, STEPS = 64, 25, 8, 4
CHANNELS, STEPS_OF_LEVEL = 32, 4
NETWORKS: dict[str, dict[str, Any]] = {
    "vectors in 256 directions": {"rank": 256, "affine": True, "chart_layers": 6, "blocks": 2},
    "convolutions": {"network": "convolutional"},
}


def chart_of(name: str) -> Flow:
    """An M-flow of 64 x 64 x 3 pixels."""
    return disturbed(m_flow(jr.key(0), LARGE, LATENT_DIM, **NETWORKS[name]))


def images(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Images of noise."""
    return np.random.default_rng(0).uniform(size=(count, *shape)).astype(np.float32)


def likelihood(name: str, rounds: int) -> list[str]:
    """A row of the first table."""
    flow, x = chart_of(name), images(LARGE, 8)
    u = flow.encode(x)

    @eqx.filter_jit
    def rows(flow, u):
        """The first rows of dx/du of one image after the other."""

        def of(u):
            _, pull = jax.vjp(lambda u: flow.chart.decode(u).ravel(), u)
            unit = jnp.eye(PASSES, flow.dim, dtype=u.dtype)
            return jax.lax.map(lambda cotangent: pull(cotangent)[0], unit)

        return jax.lax.map(of, u)

    calls = {
        "exact": Call(lambda: jax.block_until_ready(flow.log_prob(x)), len(x)),
        "passes": Call(lambda: jax.block_until_ready(rows(flow, u)), len(x) * PASSES),
    }
    seconds = measure(calls, rounds)
    by_passes = [second * flow.dim for second in seconds["passes"]]
    thousand = f"{1000 * float(np.median(seconds['exact'])):.3g}"
    return [name, milliseconds(seconds["exact"]), thousand, ratio(by_passes, seconds["exact"])]


def step(name: str, rounds: int) -> list[str]:
    """A row of the second table."""
    x = images(LARGE, BATCH * STEPS)
    call = training(chart_of(name), Reconstruction(), ("chart",), x, STEPS, BATCH)
    seconds = measure({name: call}, rounds)[name]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [name, milliseconds(seconds), f"{most:.3g}"]


def beside(rounds: int) -> list[list[str]]:
    """Rows of the last table."""
    import torch
    from peers import torch_training
    from torch_images import Autoencoder, glow

    x = images(SMALL, BATCH * STEPS)
    channels_first = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    sizes: dict[str, Any] = {"layers": STEPS_OF_LEVEL, "channels": CHANNELS, "affine": True}
    flow = ambient_flow(jr.key(0), SMALL, network="convolutional", **sizes)
    peer, encoder = glow(SMALL, STEPS_OF_LEVEL, CHANNELS), Autoencoder(SMALL, 2, CHANNELS)
    ours = pae(jr.key(0), SMALL, 2, network="convolutional", width=CHANNELS, blocks=1)
    calls = {
        "flow": training(flow, NegativeLogLikelihood(), ("chart",), x, STEPS, BATCH),
        "nflows": torch_training(
            peer.parameters(), lambda x: -peer.log_prob(x).mean(), channels_first, STEPS, BATCH
        ),
        "autoencoder": training(ours, Reconstruction(), ("chart",), x, STEPS, BATCH),
        "torch": torch_training(
            encoder.parameters(),
            lambda x: (encoder(x) - x).square().sum((1, 2, 3)).mean(),
            channels_first,
            STEPS,
            BATCH,
        ),
    }
    seconds = measure(calls, rounds)
    parameters = {
        "flow": _count(flow),
        "nflows": sum(part.numel() for part in peer.parameters()),
        "autoencoder": _count(ours),
        "torch": sum(part.numel() for part in encoder.parameters()),
    }
    return [
        [
            title,
            milliseconds(seconds[own]),
            milliseconds(seconds[other]),
            ratio(seconds[other], seconds[own]),
            f"{parameters[own]:,} {parameters[other]:,}",
        ]
        for title, own, other in (
            ("multi-scale flow, nflows", "flow", "nflows"),
            ("autoencoder, torch", "autoencoder", "torch"),
        )
    ]


def _count(flow: Flow) -> int:
    """Numbers of the chart that are trained."""
    weights, _ = trainable(flow, ("chart",))
    return sum(leaf.size for leaf in jax.tree.leaves(weights))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--step-of", choices=NETWORKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else 9
    if arguments.step_of:
        print("\t".join(step(arguments.step_of, rounds)))
        return

    console = Console(width=130)
    table = Table(
        *("chart", "ms per image", "s of 1,000", "D reverse passes / exact"),
        title="Exact log-likelihood, 64 x 64 x 3, n = 64",
        title_justify="left",
    )
    for name in NETWORKS:
        table.add_row(*likelihood(name, rounds))
    console.print(table)
    table = Table(
        *("chart", "ms per step", "GiB at most"),
        title=f"Manifold phase, 64 x 64 x 3, n = 64, {BATCH} images",
        title_justify="left",
    )
    for name in NETWORKS:  # each in a process of its own, for its memory
        command = [sys.executable, __file__, "--step-of", name, *(["--quick"] * arguments.quick)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        table.add_row(*printed.strip().split("\t"))
    console.print(table)
    table = Table(
        *("", "ours, ms per step", "theirs", "theirs / ours", "parameters"),
        title=f"Beside torch, 32 x 32 x 3, {BATCH} images",
        title_justify="left",
    )
    for row in beside(rounds):
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
