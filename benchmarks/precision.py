"""What do float32, and products in TF32 and bfloat16, cost in accuracy and gain in time?

    python benchmarks/precision.py

Accelerators can round the inputs of a float32 product. mflows does not let them, unless
``jax_default_matmul_precision`` asks for it: then conditioners and derivatives are rounded;
placements, LU maps and splines never are. Told for every setting (CPUs round in none), on charts
with weights disturbed by .05: the largest and the mean error of encode(decode(u)) and of the exact
log-likelihood on the manifold, against the same flow in float64 on the CPU; and the time of the
log-likelihood.
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
from ours import disturbed, m_flow_of
from rich.console import Console
from rich.table import Table
from sizes import MIDDLE, SMALL, WIDE, Size

SIZES = {"small": (SMALL, 1000), "middle": (MIDDLE, 500), "wide": (WIDE, 32)}
"""Size and points to score."""
SETTINGS = {"full": None, "TF32": "tensorfloat32", "bfloat16": "BF16_BF16_F32"}
"""What the table calls a setting, and what JAX does."""


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
    size, _ = SIZES[name]
    given = np.load(path)
    flow, _ = problem(size, 1)
    leaves, structure = jax.tree.flatten(eqx.filter(flow, eqx.is_inexact_array))
    doubles = [jnp.asarray(given[f"arr_{number}"], float) for number in range(len(leaves))]
    flow = eqx.combine(jax.tree.unflatten(structure, doubles), flow)
    np.savez(path, *found(flow, jnp.asarray(given["u"], float)))


def compare(name: str) -> Table:
    """The table of one size."""
    size, count = SIZES[name]
    flow, u = problem(size, count)
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
    points, calls, errors = flow.decode(u), {}, {}
    for setting in SETTINGS:

        def scoring(setting=setting):
            with jax.default_matmul_precision(SETTINGS[setting]):
                return jax.block_until_ready(flow.log_prob(points))

        with jax.default_matmul_precision(SETTINGS[setting]):
            errors[setting] = [abs(a - b) for a, b in zip(found(flow, u), truth, strict=True)]
        calls[setting] = Call(scoring)
    seconds = measure(calls, 9)
    table = Table(
        *("products", "round trip", "log-likelihood, nats", "log-likelihood, ms"),
        title=f"{jax.devices()[0].device_kind}, {size.title}: largest (mean) errors",
        title_justify="left",
    )
    for setting in SETTINGS:
        cells = [f"{error.max():.1e} ({error.mean():.1e})" for error in errors[setting]]
        table.add_row(setting, *cells, milliseconds(seconds[setting]))
    return table


def main() -> None:
    """Measure and print."""
    if len(sys.argv) == 3:
        reference(sys.argv[1], Path(sys.argv[2]))
        return
    for name in SIZES:
        Console(width=130).print(compare(name))


if __name__ == "__main__":
    main()
