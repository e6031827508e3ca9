"""How fast are training, likelihood and sampling on tables, beside other libraries?

    make benchmark            # or: python benchmarks/tabular.py [--quick]

(D, n) = (3, 2), batch 100, 5 + 5 permuted layers, 10 bins; and (40, 14), batch 100, 10 + 10 LU
layers, 11 bins. Every system has the same number of layers, the same bins, and conditioners of the
same width and depth. Every measurement is repeated in rounds, systems in turn; ratios are those of
each round.
"""

# ruff: noqa: I001  (timing comes first: it sets threads)
# torch and the peers are installed with the extra `benchmarks` only.
from timing import Call, measure, milliseconds, ratio

import argparse

import equinox as eqx
import jax
import torch
from ours import STEPS, points_of
from ours import questions as our_questions
from peers import (
    DEVICE,
    NflowsMFlow,
    flowjax_ambient,
    flowjax_fit,
    nflows_ambient,
    normflows_ambient,
    torch_training,
    waited,
    zuko_ambient,
)
from rich.console import Console
from rich.table import Table
from sizes import BATCH, MIDDLE, SMALL, Size

SLOW_STEPS = 2
"""Steps per timed call where D reverse passes are in each."""


@eqx.filter_jit
def _log_prob(flow, x):
    return flow.log_prob(x)


def questions(size: Size, points: int) -> dict[str, dict[str, Call]]:
    """What is timed: question -> library -> call."""
    x, near = points_of(size, points)
    x_, near_ = (torch.tensor(each, device=DEVICE) for each in (x, near))
    layers, peer = 2 * size.layers, NflowsMFlow(size)
    modules = {
        "nflows": nflows_ambient(size, layers),
        "zuko": zuko_ambient(size, layers),
        "normflows": normflows_ambient(size, layers),
    }
    of_torch = {
        "nflows": modules["nflows"].log_prob,
        "zuko": lambda x: modules["zuko"]().log_prob(x),
        "normflows": modules["normflows"].log_prob,
    }
    of_flowjax = flowjax_ambient(size, layers)

    def without_gradient(function) -> Call:
        return Call(waited(torch.no_grad()(function)))

    peers = {
        "manifold step": {
            "nflows": torch_training(
                peer.chart.parameters(),
                lambda b: ((b - peer.decode(peer.encode(b))) ** 2).mean(),
                *(x_, STEPS),
            ),
        },
        "density step": {
            "nflows": torch_training(
                peer.latent.parameters(),
                lambda b: -peer.latent.log_prob(b).mean(),
                *(x_[:, : size.latent_dim], STEPS),
            ),
        },
        "ambient step": {
            **{
                name: torch_training(
                    modules[name].parameters(), lambda b, f=f: -f(b).mean(), x_, STEPS
                )
                for name, f in of_torch.items()
            },
            "flowjax": flowjax_fit(of_flowjax, x, STEPS),
        },
        "exact-likelihood step": {
            "nflows": torch_training(
                peer.parameters(),
                lambda b: -peer.log_prob(b, for_training=True).mean(),
                *(x_, SLOW_STEPS),
            ),
        },
        "exact log-likelihood": {"nflows": Call(waited(lambda: peer.log_prob(near_)))},
        "ambient log-likelihood": {
            **{name: without_gradient(lambda f=f: f(near_)) for name, f in of_torch.items()},
            "flowjax": Call(lambda: jax.block_until_ready(_log_prob(of_flowjax, near))),
        },
        "sampling": {
            "nflows": without_gradient(lambda: peer.decode(peer.latent.sample(points))),
        },
    }
    return {
        name: {"mflows": call, **peers[name]} for name, call in our_questions(size, points).items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 3 if parser.parse_args().quick else 9
    console = Console(width=130)
    names = ("mflows", "nflows", "zuko", "normflows", "flowjax")
    for size, points in ((SMALL, 1000), (MIDDLE, 500)):
        table = Table(
            "",
            "mflows, ms",
            *(f"{name} / mflows" for name in names[1:]),
            title=f"{size.title}: per step of {BATCH}, or for {points} points",
            title_justify="left",
        )
        for question, calls in questions(size, points).items():
            seconds = measure(calls, rounds)
            table.add_row(
                question,
                milliseconds(seconds["mflows"]),
                *(
                    ratio(seconds[name], seconds["mflows"]) if name in seconds else "-"
                    for name in names[1:]
                ),
            )
        console.print(table)


if __name__ == "__main__":
    main()
