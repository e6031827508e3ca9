"""What does the log-likelihood of an M-flow cost, from D = 3 to 12,288?

    python benchmarks/log_likelihood.py [--quick]

Exact, beside the same from nflows' parts by D reverse passes, and beside an ambient log-likelihood
of as many layers, of which it should cost at most (1 + n) / 2. Then cheap methods, with their error
on the model at hand. At D = 12,288 nflows' encoding and eight of its reverse passes are timed, and
the passes multiplied to D.
"""

# ruff: noqa: I001  (timing comes first: it sets threads)
# torch and the peers are installed with the extra `benchmarks` only.
from timing import Call, measure, milliseconds, ratio

import argparse

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import torch
from ours import ambient_flow_of, disturbed, m_flow_of
from peers import DEVICE, NflowsMFlow, waited
from rich.console import Console
from rich.table import Table
from sizes import LARGE, MIDDLE, SMALL, WIDE, Size

from mflows.volume import ConjugateGradient, Exact, GradientOnly, Hadamard, Lanczos, Volume

PASSES = 8
"""Reverse passes that are timed where D of them would take too long."""


def exact(size: Size, points: int, rounds: int) -> list[str]:
    """A row of the first table."""
    flow, ambient = m_flow_of(size), ambient_flow_of(size, 2 * size.layers)
    near = 0.1 * np.asarray(jr.normal(jr.key(3), (points, size.dim)), np.float32)
    peer, near_ = NflowsMFlow(size), torch.tensor(near, device=DEVICE)
    rows = min(size.dim, PASSES) if size.dim > 1000 else size.dim
    u = peer.encode(near_).detach().requires_grad_(True)
    calls = {
        "exact": Call(lambda: jax.block_until_ready(flow.log_prob(near)), points),
        "ambient": Call(lambda: jax.block_until_ready(ambient.log_prob(near)), points),
        "encode": Call(waited(torch.no_grad()(lambda: peer.encode(near_))), points),
        "decode": Call(waited(torch.no_grad()(lambda: peer.decode(u))), points),
        "decode and passes": Call(waited(lambda: peer.jacobian_rows(u, rows)), points),
    }
    seconds = measure(calls, rounds)
    parts = zip(seconds["encode"], seconds["decode"], seconds["decode and passes"], strict=True)
    by_passes = [a + b + (c - b) / rows * size.dim for a, b, c in parts]
    bound = [(1 + size.latent_dim) / 2 * second for second in seconds["ambient"]]
    return [
        size.title,
        str(points),
        milliseconds(seconds["exact"]),
        ratio(by_passes, seconds["exact"]),
        ratio(seconds["exact"], seconds["ambient"]),
        ratio(bound, seconds["exact"]),
    ]


def cheap(size: Size, points: int, rounds: int) -> list[list[str]]:
    """Rows of the second table: values and gradients of log-volumes by every method.

    Not the gradient of ``Lanczos``: it holds one of all weights for every probe of every point.
    """
    flow = disturbed(m_flow_of(size))
    u = 0.5 * jr.normal(jr.key(4), (points, size.latent_dim))
    keys = jr.split(jr.key(5), points)
    methods: dict[str, Volume] = {
        "Exact": Exact(),
        "Exact, 8 tangents at a time": Exact(chunk=8),
        "Hadamard, 1 probe": Hadamard(),
        "Lanczos, 4 probes, order 5": Lanczos(probes=4, order=5),
        "ConjugateGradient, 1 probe": ConjugateGradient(),
    }

    def mean(flow, method):
        volumes = jax.vmap(lambda u, key: method.log_volume(flow.chart, u, key=key))(u, keys)
        return volumes.mean(), volumes

    value = eqx.filter_jit(lambda method: mean(flow, method)[1])
    slope = eqx.filter_jit(lambda method: eqx.filter_grad(mean, has_aux=True)(flow, method)[0])
    calls = {}
    for name, method in methods.items():
        if not isinstance(method, GradientOnly):
            calls[name] = Call(lambda m=method: jax.block_until_ready(value(m)), points)
        if not isinstance(method, Lanczos):
            calls[f"gradient {name}"] = Call(
                lambda m=method: jax.block_until_ready(eqx.filter(slope(m), eqx.is_array)), points
            )
    seconds, truth = measure(calls, rounds), value(Exact())

    def against(prefix: str, name: str) -> str:
        if prefix + name not in seconds:
            return "-"
        return ratio(seconds[prefix + name], seconds[prefix + "Exact"])

    return [
        [
            size.title,
            name,
            against("", name),
            against("gradient ", name),
            f"{float(jnp.abs(value(method) - truth).mean()):.2g}" if name in seconds else "-",
        ]
        for name, method in methods.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 3 if parser.parse_args().quick else 9
    console = Console(width=130)
    table = Table(
        *("", "points", "exact, ms per point", "D reverse passes / exact", "exact / ambient"),
        "(1 + n) / 2 ambient / exact",
        title="Exact log-likelihood",
        title_justify="left",
    )
    for size, points in ((SMALL, 1000), (MIDDLE, 500), (LARGE, 8)):
        table.add_row(*exact(size, points, rounds))
    console.print(table)
    table = Table(
        *("", "method", "value / exact", "gradient / exact gradient", "mean error, nats"),
        title="Log-volumes: time as a share of the exact method's",
        title_justify="left",
    )
    for size, points in ((MIDDLE, 100), (WIDE, 4)):
        for row in cheap(size, points, rounds):
            table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
