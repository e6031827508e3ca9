"""How long until a recipe has made its first step, cold and from the persistent cache?

    python benchmarks/compile_latency.py

Every recipe at (D, n) = (3, 2) and batch 100 in a fresh process: ``mf.fit`` for one epoch of one
step per phase, with start and validation, first with an empty compilation cache and then with the
one it left. The time of importing what that needs, JAX included, is told apart.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

SYSTEMS = (
    "m-flow:manifold-then-density",
    "m-flow:alternating",
    "m-flow:simultaneous",
    "m-flow:rectangular",
    "m-flow:canonical",
    "m-flow:optimal-transport",
    "pae:free-form",
    "ripf:relaxed-injective",
    "vae:variational",
    "gan:adversarial",
    "pie:maximum-likelihood",
    "af:maximum-likelihood",
    "af:denoising",
)

CHILD = """
import sys, time, json
started = time.perf_counter()
import mflows as mf
from mflows.runs import Config, check_system
from mflows.data import Data
mf.fit, mf.models, mf.recipes  # parts are imported at their first use
imported = time.perf_counter() - started
import numpy as np
rng = np.random.default_rng(0)
z = rng.normal(size=(120, 2))
data = Data(np.column_stack([z, 0.3 * (z**2).sum(1)]).astype(np.float32))
system = check_system(sys.argv[1])
n = None if system.model == "af" else 2
config = Config("none", latent_dim=n, model=system.model, recipe=system.recipe, epochs=3)
flow, phases, key = config.resolved(100).setup(data)
started = time.perf_counter()
mf.fit(key, flow, data, phases, validation=1 / 6, progress=False)
print(json.dumps([imported, time.perf_counter() - started]))
"""


def seconds(system: str, cache: Path) -> tuple[float, float]:
    """Of importing, and of the first steps, in a fresh process."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, system],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print."""
    table = Table("system:recipe", "cold, s", "cached, s", title_justify="left")
    imports = []
    for system in SYSTEMS:
        with tempfile.TemporaryDirectory() as folder:
            (first, cold), (second, cached) = (seconds(system, Path(folder)) for _ in range(2))
        imports += [first, second]
        table.add_row(system, f"{cold:.2f}", f"{cached:.2f}")
    console = Console()
    console.print(table)
    console.print(f"imports: {sorted(imports)[len(imports) // 2]:.2f} s (median)")


if __name__ == "__main__":
    main()
