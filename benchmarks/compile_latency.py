"""How long until a recipe has made its first step, cold and from the persistent cache?

    python benchmarks/compile_latency.py [SYSTEM ...]

Every recipe at (D, n) = (3, 2) and batch 100 in a fresh process: building the flow; from the call
of ``mf.fit`` to the end of its first training step, the start of the first phase (a search for a
plane) included; and the whole fit of one epoch of one step per phase, with starts and validation.
First with an empty compilation cache, then with the one it left. Seconds of the process (CPU) and
of the clock: on a busy machine believe the first. The time of importing what that needs is told
apart: JAX, and for optimal transport OTT, which imports Matplotlib and SciPy's statistics.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

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

SPANS = ("import", "build", "first step", "fit")

CHILD = """
import sys, time, json
class Stopwatch:
    def __init__(self):
        self.cpu, self.wall = time.process_time(), time.perf_counter()
    def read(self):
        return time.process_time() - self.cpu, time.perf_counter() - self.wall
watch = Stopwatch()
import mflows as mf
from mflows.runs import Config
from mflows.systems import parse
from mflows.data import Data
mf.fit, mf.models, mf.recipes  # parts are imported at their first use
if "optimal-transport" in sys.argv[1]:
    import ott.tools.sinkhorn_divergence
spans = {"import": watch.read()}
import jax, numpy as np
from mflows.training import epoch as loop
rng = np.random.default_rng(0)
z = rng.normal(size=(120, 2))
data = Data(np.column_stack([z, 0.3 * (z**2).sum(1)]).astype(np.float32))
system, recipe, _ = parse(sys.argv[1])
n = 2 if system.takes_latent_dim else None
config = Config("none", latent_dim=n, model=system.name, recipe=recipe, epochs=3)
watch = Stopwatch()
flow, phases, key = config.resolved(100).setup(data)
spans["build"] = watch.read()
run_block = loop._run_block
def watched(*arguments):
    done = jax.block_until_ready(run_block(*arguments))
    spans.setdefault("first step", watch.read())
    return done
loop._run_block = watched
watch = Stopwatch()
mf.fit(key, flow, data, phases, validation=1 / 6, progress=False)
spans["fit"] = watch.read()
print(json.dumps(spans))
"""


class Seconds(NamedTuple):
    """Of the process and of the clock."""

    cpu: float
    wall: float

    def __str__(self):
        return f"{self.cpu:.2f} ({self.wall:.2f})"


def seconds(system: str, cache: Path) -> dict[str, Seconds]:
    """Of importing and of every span, in a fresh process."""
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
    spans = json.loads(done.stdout.splitlines()[-1])
    return {name: Seconds(*span) for name, span in spans.items()}


def main() -> None:
    """Measure and print."""
    table = Table("system:recipe", title="CPU (wall) seconds", title_justify="left")
    for span in SPANS:
        for state in ("cold", "cached"):
            table.add_column(f"{span}, {state}")
    for system in sys.argv[1:] or SYSTEMS:
        with tempfile.TemporaryDirectory() as folder:
            both = [seconds(system, Path(folder)) for _ in range(2)]
        cells = [each[span] for span in SPANS for each in both]
        table.add_row(system, *map(str, cells))
    Console().print(table)


if __name__ == "__main__":
    main()
