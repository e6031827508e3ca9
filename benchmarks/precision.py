"""What do float32, and conditioners in bfloat16, cost in accuracy and gain in time?

    python benchmarks/precision.py

Accelerators round the inputs of a float32 matmul unless told otherwise, to TF32 or bfloat16
(``jax.default_matmul_precision``; CPUs never do). Where that would break a round trip, as in
placements and splines, mflows asks for full precision itself; conditioners follow the setting.
Told for every setting, on charts with weights disturbed by .05: the largest and the mean error of
encode(decode(u)) and of the exact log-likelihood on the manifold, against the same flow in float64
on the CPU; and the time of the log-likelihood and of a step of exact-likelihood training.
"""

# ruff: noqa: I001  (timing comes first: it sets threads)
from timing import Call, measure, milliseconds

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from ours import disturbed, m_flow_of, training
from rich.console import Console
from rich.table import Table
from sizes import MIDDLE, SMALL, WIDE, Size

from mflows.training.objectives import ReconstructionAndLikelihood

SIZES = {"small": (SMALL, 1000, 20), "middle": (MIDDLE, 500, 5), "wide": (WIDE, 32, 1)}
"""Size, points to score, and steps per timed call, each on a tenth of the points."""
SETTINGS = ("default", "highest", "bfloat16")


def problem(size: Size, points: int):
    """A flow and latent coordinates, in the precision that JAX has now."""
    return disturbed(m_flow_of(size)), 0.5 * jr.normal(jr.key(4), (points, size.latent_dim))


def found(flow, u) -> tuple[np.ndarray, np.ndarray]:
    """What is compared."""
    x = flow.decode(u)
    return np.asarray(flow.encode(x)), np.asarray(flow.log_prob(x))


def reference(name: str, path: Path) -> None:
    """In a process of its own: the same in float64."""
    jax.config.update("jax_enable_x64", True)
    size, *_ = SIZES[name]
    given = np.load(path)
    flow, _ = problem(size, 1)
    leaves, structure = jax.tree.flatten(eqx.filter(flow, eqx.is_inexact_array))
    doubles = [jnp.asarray(given[f"arr_{number}"], float) for number in range(len(leaves))]
    flow = eqx.combine(jax.tree.unflatten(structure, doubles), flow)
    np.savez(path, *found(flow, jnp.asarray(given["u"], float)))


def compare(name: str, table: Table) -> None:
    """Rows of one size."""
    size, points, steps = SIZES[name]
    batch = points // 10
    flow, u = problem(size, points)
    leaves = jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flow.npz"
        np.savez(path, *map(np.asarray, leaves), u=np.asarray(u))
        subprocess.run(
            [sys.executable, __file__, name, str(path)],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            check=True,
        )
        truth = list(np.load(path).values())
    x = 0.1 * jr.normal(jr.key(1), (max(points, steps * batch), size.dim))
    both, calls, errors = ("chart", "latent"), {}, {}
    for setting in SETTINGS:

        def scoring(setting=setting):
            with jax.default_matmul_precision(setting):
                jax.block_until_ready(flow.log_prob(x[:points]))

        calls[setting] = Call(scoring)
        with jax.default_matmul_precision(setting):
            values = found(flow, u)
            step = training(flow, ReconstructionAndLikelihood(), both, x, steps, batch).function
            errors[setting] = [np.abs(a - b) for a, b in zip(values, truth, strict=True)]

        def stepping(setting=setting, step=step):
            with jax.default_matmul_precision(setting):
                step()

        calls[f"{setting} step"] = Call(stepping, steps)
    seconds = measure(calls, 5)
    for setting in SETTINGS:
        cells = [f"{error.max():.1e} ({error.mean():.1e})" for error in errors[setting]]
        times = [milliseconds(seconds[key]) for key in (setting, f"{setting} step")]
        table.add_row(size.title, setting, *cells, *times)


def main() -> None:
    """Measure and print."""
    if len(sys.argv) == 3:
        reference(sys.argv[1], Path(sys.argv[2]))
        return
    table = Table(
        *("", "matmuls", "round trip", "log-likelihood, nats", "log-likelihood, ms", "step, ms"),
        title=f"{jax.devices()[0].device_kind}: largest (mean) errors",
        title_justify="left",
    )
    for name in SIZES:
        compare(name, table)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
