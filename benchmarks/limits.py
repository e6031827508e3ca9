"""How far from the machine's limits is every kernel?

    taskset -c 1 python benchmarks/limits.py [--quick]

The limits are measured beside the kernels, in turn with them on the same thread: multiplication of
a large matrix, and of one of the shape that conditioners have; copies within the cache and beyond
it; exponentials; an empty compiled call and an empty step of a scan. A kernel's floor is the
largest of its necessary floating-point operations, its bytes and its transcendentals over their
limits; the sum of the three is what a core needs that does one after the other. Times are CPU
times of the process, the least of the rounds: a limit is approached from one side.

Necessary operations are counted by hand from the layers' shapes, what is done by XLA's cost
analysis of the compiled kernel. That counts the body of a loop once, so it is taken of kernels
with their layers unrolled, of one and of two layers, and continued to all. Placements are the
identity here and count as nothing.
"""

# ruff: noqa: I001  (timing comes first: it sets threads)
from timing import Call, measure

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import Chain, Scan
from ours import ambient_flow_of, m_flow_of, one_step, training
from paramax import unwrap
from rich.console import Console
from rich.table import Table
from sizes import BATCH, MIDDLE, SMALL, WIDE, Size

from mflows.training import LatentNegativeLogLikelihood, NegativeLogLikelihood, Reconstruction
from mflows.training.objectives import ReconstructionAndLikelihood

CACHED, BEYOND = 1 << 18, 1 << 26
"""Bytes of an array that the second-level cache holds with its copy, and of one that none holds."""
STEPS = 20
"""Training steps of an epoch: what an epoch takes besides, copies of all parameters, is shared."""
REPEATS = 200
"""Operations per timed call of a limit, to hide the cost of dispatch."""


class Counts(NamedTuple):
    """What a compiled kernel does."""

    flops: float
    bytes: float
    transcendentals: float
    memory: float
    """Bytes of its arguments, results and temporaries."""


class Kernel(NamedTuple):
    """Something to time, the operations that it needs, and what it does."""

    call: Call
    necessary: float
    counts: Counts


def limits(width: int) -> dict[str, Call]:
    """What the machine can do: name -> call; units are operations, bytes or calls."""
    key = jr.key(0)

    def repeated(function, x, units: int, repeats: int = REPEATS) -> Call:
        compiled = jax.jit(
            lambda x: jax.lax.scan(lambda x, _: (function(x), None), x, None, length=repeats)[0]
        )
        return Call(lambda: compiled(x).block_until_ready(), repeats * units)

    side = 1024
    large, narrow = (jr.normal(key, shape) for shape in ((side, side), (BATCH, width)))
    turn = jnp.linalg.qr(jr.normal(key, (width, width)))[0]
    turn_large = jnp.eye(side)
    cached, beyond = jnp.ones(CACHED // 4), jnp.ones(BEYOND // 4)
    empty = jax.jit(lambda x: x)
    return {
        "large matmul": repeated(lambda x: x @ turn_large, large, 2 * side**3, 2),
        "conditioner matmul": repeated(lambda x: x @ turn, narrow, 2 * BATCH * width**2),
        "copy in cache": repeated(lambda x: x + 1, cached, 2 * CACHED),
        # Many times in one call: the first touch of a fresh array costs more than a copy.
        "copy in memory": repeated(lambda x: x + 1, beyond, 2 * BEYOND, 20),
        "exponential": repeated(lambda x: jnp.exp(-x), cached, cached.size),
        "empty call": Call(lambda: empty(narrow).block_until_ready()),
        "empty step of a scan": repeated(lambda x: x + 1, jnp.zeros(()), 1, 1000),
    }


def conditioner(size: Size, dim: int) -> tuple[float, float, int]:
    """Operations of a conditioner's hidden layers and of its last; coordinates it moves."""
    moved = max(dim // 2, 1)
    hidden = 2 * size.width * (dim - moved + 2 * size.blocks * size.width)
    return hidden, 2 * size.width * moved * (3 * size.bins - 1), moved


def layer(size: Size, dim: int) -> float:
    """Operations of one layer at one point: the network, splines, and triangular maps."""
    hidden, last, moved = conditioner(size, dim)
    spline = moved * (12 * size.bins + 60)  # six per bin and axis, then the curve
    return hidden + last + spline + (2 * dim**2 if size.linear else 0)


def carried(size: Size) -> float:
    """Operations to carry a frame, or conormals if they are fewer, through a layer of a chart."""
    hidden, last, moved = conditioner(size, size.dim)
    vectors = min(size.latent_dim, size.dim - size.latent_dim)
    linear = 2 * size.dim**2 if size.linear else 0
    return last + vectors * (hidden + 2 * size.width * moved + linear)


def necessary(size: Size) -> dict[str, float]:
    """Operations of every kernel at one point; a gradient costs twice what it is taken of."""
    chart, latent = (size.layers * layer(size, dim) for dim in (size.dim, size.latent_dim))
    # The encoder drops what the first layer moves, unless a linear map mixes it.
    spared = 0 if size.linear or size.latent_dim > size.dim - size.dim // 2 else 1
    project = chart * (2 - spared / size.layers)
    exact = project + size.layers * carried(size) + latent
    return {
        "manifold step": 3 * project,
        "density step": 3 * latent,
        "ambient step": 3 * 2 * chart,
        "exact-likelihood step": 3 * exact,
        "exact log-likelihood": exact,
        "ambient log-likelihood": 2 * chart,
        "sampling": chart + latent,
    }


def unrolled(flow):
    """A flow whose scanned layers follow each other without a loop."""

    def layers(scan: Scan) -> Chain:
        arrays, static = eqx.partition(scan.bijection, eqx.is_array)
        count = jax.tree.leaves(arrays)[0].shape[0]
        each = (jax.tree.map(lambda leaf, i=i: leaf[i], arrays) for i in range(count))
        return Chain([eqx.combine(one, static) for one in each])

    def is_scan(part) -> bool:
        return isinstance(part, Scan)

    return jax.tree.map(lambda part: layers(part) if is_scan(part) else part, flow, is_leaf=is_scan)


def counted(function: Callable[..., object], arguments: tuple[object, ...]) -> Counts:
    """What the compiled function does."""
    arrays, static = eqx.partition(arguments, eqx.is_array)

    def of_arrays(arrays):
        return eqx.filter(function(*eqx.combine(arrays, static)), eqx.is_array)

    compiled = jax.jit(of_arrays).lower(arrays).compile()
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    sizes = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return Counts(
        flops=cost.get("flops", 0.0),
        bytes=cost.get("bytes accessed", 0.0),
        transcendentals=cost.get("transcendentals", 0.0),
        memory=sum(getattr(memory, name) for name in sizes),
    )


def every_point(method: str) -> Callable[..., object]:
    """A one-point method of a flow as a function of flow and points."""
    return lambda flow, points: jax.vmap(getattr(unwrap(flow), method))(points)


def functions(
    size: Size, batch: int, points: int
) -> dict[str, tuple[Callable[..., object], tuple[object, ...]]]:
    """Kernels with unrolled layers as functions and their arguments."""
    flow, ambient = unrolled(m_flow_of(size)), unrolled(ambient_flow_of(size, 2 * size.layers))
    x = jr.normal(jr.key(1), (batch, size.dim))
    near = 0.1 * jr.normal(jr.key(3), (points, size.dim))
    both = ("chart", "latent")
    return {
        "manifold step": one_step(flow, Reconstruction(), ("chart",), x),
        "density step": one_step(
            flow, LatentNegativeLogLikelihood(), ("latent",), x[:, : size.latent_dim]
        ),
        "ambient step": one_step(ambient, NegativeLogLikelihood(), ("chart",), x),
        "exact-likelihood step": one_step(flow, ReconstructionAndLikelihood(), both, x),
        "exact log-likelihood": (every_point("_log_prob"), (flow, near)),
        "ambient log-likelihood": (every_point("_log_prob"), (ambient, near)),
        "sampling": (every_point("_sample"), (flow, jr.split(jr.key(4), points))),
    }


def calls(size: Size, batch: int, points: int) -> dict[str, Call]:
    """Kernels as users call them."""
    flow, ambient = m_flow_of(size), ambient_flow_of(size, 2 * size.layers)
    x = jr.normal(jr.key(1), (STEPS * batch, size.dim))
    near = 0.1 * jr.normal(jr.key(3), (points, size.dim))

    def step(flow, objective, trains, x) -> Call:
        return training(flow, objective, trains, x, STEPS, batch)

    def ready(function) -> Call:
        return Call(lambda: jax.block_until_ready(function()))

    both = ("chart", "latent")
    return {
        "manifold step": step(flow, Reconstruction(), ("chart",), x),
        "density step": step(
            flow, LatentNegativeLogLikelihood(), ("latent",), x[:, : size.latent_dim]
        ),
        "ambient step": step(ambient, NegativeLogLikelihood(), ("chart",), x),
        "exact-likelihood step": step(flow, ReconstructionAndLikelihood(), both, x),
        "exact log-likelihood": ready(lambda: flow.log_prob(near)),
        "ambient log-likelihood": ready(lambda: ambient.log_prob(near)),
        "sampling": ready(lambda: flow.sample(jr.key(4), (points,))),
    }


def kernels(size: Size, batch: int, points: int) -> dict[str, Kernel]:
    """Everything that is timed and counted at one size."""
    one, two = (functions(size._replace(layers=layers), batch, points) for layers in (1, 2))
    needed, timed = necessary(size), calls(size, batch, points)
    found = {}
    for name, call in timed.items():
        first, second = counted(*one[name]), counted(*two[name])
        total = Counts(
            *(a + (size.layers - 1) * (b - a) for a, b in zip(first, second, strict=True))
        )
        count = batch if "step" in name else points
        found[name] = Kernel(call, count * needed[name], total)
    return found


def row(name: str, kernel: Kernel, second: float, rates: dict[str, float]) -> list[str]:
    """A row of the table."""
    counts = kernel.counts
    copy = "copy in cache" if counts.memory < BEYOND else "copy in memory"
    floors = {
        "matmul": kernel.necessary / rates["large matmul"],
        copy: counts.bytes / rates[copy],
        "exponential": counts.transcendentals / rates["exponential"],
    }
    binds = max(floors, key=lambda name: floors[name])
    return [
        name,
        f"{1e3 * second:.3g}",
        f"{kernel.necessary / 1e9:.3g}",
        f"{counts.flops / 1e9:.3g}",
        f"{counts.bytes / 1e6:.3g}",
        f"{counts.transcendentals / 1e6:.3g}",
        f"{1e3 * floors[binds]:.3g}",
        binds,
        f"{floors[binds] / second:.0%}",
        f"{sum(floors.values()) / second:.0%}",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, the smallest size")
    quick = parser.parse_args().quick
    console = Console(width=130)
    problems = [(SMALL, BATCH, 1000, 50), (MIDDLE, BATCH, 500, 15), (WIDE, 8, 8, 8)]
    for size, batch, points, rounds in problems[:1] if quick else problems:
        found, bounds = kernels(size, batch, points), limits(size.width)
        both = {**bounds, **{name: k.call for name, k in found.items()}}
        seconds = measure(both, 15 if quick else rounds, clock=time.process_time)
        best = {name: min(each) for name, each in seconds.items()}
        rates = {name: 1 / best[name] for name in bounds}
        table = Table("limit", "", title=f"{size.title}: the machine", title_justify="left")
        for name in ("large matmul", "conditioner matmul"):
            table.add_row(name, f"{rates[name] / 1e9:.3g} GFLOP/s")
        for name in ("copy in cache", "copy in memory"):
            table.add_row(name, f"{rates[name] / 1e9:.3g} GB/s")
        table.add_row("exponential", f"{rates['exponential'] / 1e9:.3g} G/s")
        for name in ("empty call", "empty step of a scan"):
            table.add_row(name, f"{1e6 * best[name]:.3g} us")
        console.print(table)
        table = Table(
            *("", "ms", "GFLOP needed", "GFLOP done", "MB", "M transcend.", "floor, ms", "binds"),
            *("floor / time", "sum / time"),
            title=f"{size.title}: per step of {batch}, or for {points} points",
            title_justify="left",
        )
        for name, kernel in found.items():
            table.add_row(*row(name, kernel, best[name], rates))
        console.print(table)
        bound = (1 + size.latent_dim) / 2
        share = best["exact log-likelihood"] / best["ambient log-likelihood"]
        console.print(f"exact / ambient log-likelihood: {share:.3g}x, wanted at most {bound:g}x\n")


if __name__ == "__main__":
    main()
