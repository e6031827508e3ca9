"""How fast are training, likelihood and sampling on tables, beside nflows and zuko?

    make benchmark            # or: python benchmarks/tabular.py [--quick]

Sizes: (D, n) = (3, 2), batch 100, 5 + 5 permuted layers, 10 bins; and (40, 14), batch 100,
10 + 10 LU layers, 11 bins. Every system has the same number of layers, the same bins, and
residual conditioners of the same width and blocks. nflows has no M-flow: ours is built from its
flows as in Brehmer & Cranmer (2020), with the exact likelihood by D reverse passes. zuko's neural
spline flow is autoregressive and has no coupling M-flow; its ambient training step and likelihood
stand for it.

All runs in one process and one thread each; every measurement is repeated in rounds, systems in
turn, and the ratio of each round gives the median and the spread.
"""

# pyright: reportMissingImports=false
# torch, nflows and zuko are installed with the extra `benchmarks` only.

import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.random as jr
import torch
import zuko
from nflows.distributions import StandardNormal as TorchNormal
from nflows.flows import Flow as TorchFlow
from nflows.nn.nets import ResidualNet
from nflows.transforms import (
    CompositeTransform,
    LULinear,
    PiecewiseRationalQuadraticCouplingTransform,
    RandomPermutation,
)
from rich.console import Console
from rich.table import Table

from mflows.flow import Flow
from mflows.models import ambient_flow, m_flow
from mflows.training import (
    Batch,
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Phase,
    Reconstruction,
)
from mflows.training.loop import initial_state, run_epoch, trainable

BATCH = 100
STEPS = 20
"""Steps or evaluations per timed call, to hide the cost of dispatch on both sides alike."""


@dataclass(frozen=True)
class Size:
    """One size of problem."""

    dim: int
    latent_dim: int
    layers: int
    linear: bool
    bins: int
    width: int = 64
    blocks: int = 1


SIZES = (
    Size(3, 2, layers=5, linear=False, bins=10),
    Size(40, 14, layers=10, linear=True, bins=11),
)


# mflows -------------------------------------------------------------------------------------


def _flow(size: Size, **kwargs) -> Flow:
    return m_flow(
        jr.key(0),
        (size.dim,),
        size.latent_dim,
        chart_layers=size.layers,
        latent_layers=size.layers,
        linear=size.linear,
        bins=size.bins,
        width=size.width,
        blocks=size.blocks,
        **kwargs,
    )


def ours(size: Size, points: int) -> dict[str, Callable[[], object]]:
    """Our timed calls: each does STEPS training steps or one evaluation of ``points`` points."""
    flow, x = _flow(size), jr.normal(jr.key(1), (STEPS * BATCH, size.dim))
    ambient = ambient_flow(
        jr.key(0),
        (size.dim,),
        layers=2 * size.layers,
        linear=size.linear,
        bins=size.bins,
        width=size.width,
        blocks=size.blocks,
    )

    def training(flow, objective, trains, x):
        phase = Phase(objective, trains, epochs=1000, batch_size=BATCH)
        state, frozen = initial_state(flow, phase), trainable(flow, trains)[1]

        def call():
            state_, _ = run_epoch(
                state, frozen, phase, 1000 * STEPS, Batch(x, None), None, jr.key(2)
            )
            jax.block_until_ready(eqx.filter(state_.parameters, eqx.is_array))

        return call

    points_x = x[:1].repeat(points, 0) + 0.1 * jr.normal(jr.key(3), (points, size.dim))
    return {
        "manifold step": training(flow, Reconstruction(), ("chart",), x),
        "density step": training(
            flow, LatentNegativeLogLikelihood(), ("latent",), x[:, : size.latent_dim]
        ),
        "ambient step": training(ambient, NegativeLogLikelihood(), ("chart",), x),
        "exact log-likelihood": lambda: jax.block_until_ready(flow.log_prob(points_x)),
        "ambient log-likelihood": lambda: jax.block_until_ready(ambient.log_prob(points_x)),
        "sampling": lambda: jax.block_until_ready(flow.sample(jr.key(4), (points,))),
    }


# nflows -------------------------------------------------------------------------------------


def _torch_stack(dim: int, size: Size) -> CompositeTransform:
    steps = []
    for layer in range(size.layers):
        steps.append(LULinear(dim, identity_init=True) if size.linear else RandomPermutation(dim))
        mask = torch.ones(dim)
        mask[layer % 2 :: 2] = -1
        steps.append(
            PiecewiseRationalQuadraticCouplingTransform(
                mask,
                lambda inputs, outputs: ResidualNet(
                    inputs, outputs, hidden_features=size.width, num_blocks=size.blocks
                ),
                num_bins=size.bins,
                tails="linear",
                tail_bound=6.0,
            )
        )
    return CompositeTransform(steps)


def nflows(size: Size, points: int) -> dict[str, Callable[[], object]]:
    """The same systems from nflows' parts."""
    torch.manual_seed(0)
    dim, n = size.dim, size.latent_dim
    chart = _torch_stack(dim, size)
    latent = TorchFlow(_torch_stack(n, size), TorchNormal([n]))
    ambient = TorchFlow(
        CompositeTransform([_torch_stack(dim, size), _torch_stack(dim, size)]), TorchNormal([dim])
    )
    x = torch.randn(STEPS * BATCH, dim)
    points_x = 0.1 * torch.randn(points, dim)

    def encode(x):
        return chart(x)[0][:, :n]

    def decode(u):
        return chart.inverse(torch.cat((u, torch.zeros(len(u), dim - n)), 1))[0]

    def training(parameters, loss, x):
        optimizer = torch.optim.AdamW(list(parameters), lr=1e-3, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000 * STEPS)

        def call():
            for batch in x.split(BATCH):
                optimizer.zero_grad()
                loss(batch).backward()
                for group in optimizer.param_groups:
                    torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
                optimizer.step()
                schedule.step()

        return call

    def log_likelihood():
        """Exact, by D reverse passes of the decoder for the whole batch at once."""
        with torch.no_grad():
            u = encode(points_x)
        u.requires_grad_(True)
        decoded = decode(u)
        rows = [
            torch.autograd.grad(decoded[:, i].sum(), u, retain_graph=True)[0] for i in range(dim)
        ]
        jacobian = torch.stack(rows, 1)
        with torch.no_grad():
            gram = jacobian.transpose(1, 2) @ jacobian
            return latent.log_prob(u) - 0.5 * torch.linalg.slogdet(gram)[1]

    def without_gradient(function):
        def call():
            with torch.no_grad():
                return function()

        return call

    return {
        "manifold step": training(
            chart.parameters(), lambda b: ((b - decode(encode(b))) ** 2).mean(), x
        ),
        "density step": training(
            latent.parameters(), lambda b: -latent.log_prob(b).mean(), x[:, :n]
        ),
        "ambient step": training(ambient.parameters(), lambda b: -ambient.log_prob(b).mean(), x),
        "exact log-likelihood": log_likelihood,
        "ambient log-likelihood": without_gradient(lambda: ambient.log_prob(points_x)),
        "sampling": without_gradient(lambda: decode(latent.sample(points))),
    }


# zuko ---------------------------------------------------------------------------------------


def zuko_flow(size: Size, points: int) -> dict[str, Callable[[], object]]:
    """Zuko's neural spline flow with coupling masks, as an ambient flow."""
    torch.manual_seed(0)
    flow = zuko.flows.NSF(
        size.dim,
        transforms=2 * size.layers,
        bins=size.bins,
        passes=2,
        hidden_features=(size.width,) * (1 + 2 * size.blocks),
    )
    optimizer = torch.optim.AdamW(flow.parameters(), lr=1e-3, weight_decay=1e-4)
    x = torch.randn(STEPS * BATCH, size.dim)
    points_x = 0.1 * torch.randn(points, size.dim)

    def step():
        for batch in x.split(BATCH):
            optimizer.zero_grad()
            (-flow().log_prob(batch).mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
            optimizer.step()

    def log_likelihood():
        with torch.no_grad():
            return flow().log_prob(points_x)

    return {"ambient step": step, "ambient log-likelihood": log_likelihood}


# Measurement --------------------------------------------------------------------------------


def measure(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, the calls taken in turn after one warm-up."""
    for call in calls.values():
        call()
    seconds = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _ratio(peer: list[float], own: list[float]) -> str:
    ratios = [a / b for a, b in zip(peer, own, strict=True)]
    return f"{statistics.median(ratios):.1f}x ({min(ratios):.1f}-{max(ratios):.1f})"


def density_phase_against_dimension(rounds: int) -> Table:
    """The density phase trains on encoded data: its cost must not depend on D."""
    table = Table(
        "D", "density step, ms", title="Density phase against D, n = 2", title_justify="left"
    )
    calls = {}
    for dim in (3, 40, 400):
        size = Size(dim, 2, layers=2, linear=False, bins=10)
        calls[str(dim)] = ours(size, BATCH)["density step"]
    for dim, seconds in measure(calls, rounds).items():
        table.add_row(dim, f"{1e3 * statistics.median(seconds) / STEPS:.2f}")
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 3 if parser.parse_args().quick else 9
    torch.set_num_threads(1)
    console = Console(width=110)
    for size in SIZES:
        points = 1000 if size.dim <= 3 else 500
        systems = {
            "mflows": ours(size, points),
            "nflows": nflows(size, points),
            "zuko": zuko_flow(size, points),
        }
        table = Table(
            "",
            "mflows",
            "nflows",
            "zuko",
            "nflows / mflows",
            "zuko / mflows",
            title=f"D = {size.dim}, n = {size.latent_dim}: "
            f"ms per step of {BATCH}, or for {points} points",
            title_justify="left",
        )
        for question in systems["mflows"]:
            asked = {name: calls[question] for name, calls in systems.items() if question in calls}
            seconds = measure(asked, rounds)
            per = STEPS if question.endswith("step") else 1
            cells = [
                f"{1e3 * statistics.median(seconds[name]) / per:.2f}" if name in seconds else "-"
                for name in systems
            ]
            ratios = [
                _ratio(seconds[name], seconds["mflows"]) if name in seconds else "-"
                for name in ("nflows", "zuko")
            ]
            table.add_row(question, *cells, *ratios)
        console.print(table)
    console.print(density_phase_against_dimension(rounds))


if __name__ == "__main__":
    main()
