"""Does training on a file larger than memory keep up with training in memory?

    python benchmarks/streaming.py [--gigabytes 10] [--folder /tmp]

Writes a table of 1,024 columns, a curved 8-dimensional sheet, as .npy, and a fifth of it as .h5 and
.parquet. The manifold phase of a probabilistic auto-encoder (``mf.fit``, batches of 1,000) is timed
in a process of its own for each file, streamed, and for a gigabyte in memory: the second epoch,
which compiles nothing. Told are rows per second, megabytes per second, the rate as
a share of that in memory, and the largest resident memory of the process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

DIM, LATENT_DIM, ROWS_AT_ONCE = 1024, 8, 16_000

CHILD = """
import json, re, sys, time
import jax, jax.random as jr
import mflows as mf
from mflows.training import Phase, Reconstruction

path, how, latent_dim = sys.argv[1], sys.argv[2], int(sys.argv[3])
started = time.perf_counter()
data = mf.data.stream(path) if how == "stream" else mf.data.load(path)
opened = time.perf_counter() - started
flow = mf.models.pae(jr.key(0), data.shape, latent_dim)
phase = Phase(Reconstruction(), ("chart",), 2, batch_size=1000, clip=0.1)
history = mf.fit(jr.key(1), flow, data, [phase], validation=0.01, progress=False).history
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps({
    "opened": opened,
    "rate": len(data) / history[-1]["seconds"],
    "rss": peak,
    "loss": history[-1]["validation"],
}))
"""


def rows(number: int) -> np.ndarray:
    """A stretch of the sheet, another one for every number."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(number)
    directions = fixed.normal(size=(LATENT_DIM, DIM)) / np.sqrt(LATENT_DIM)
    u = rng.normal(size=(ROWS_AT_ONCE, LATENT_DIM))
    return np.sin(u @ directions).astype(np.float32)


def write_npy(path: Path, count: int) -> None:
    shape = (count * ROWS_AT_ONCE, DIM)
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for number in range(count):
            rows(number).tofile(file)


def write_h5(path: Path, count: int) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (count * ROWS_AT_ONCE, DIM), "<f4", chunks=(1000, DIM))
        for number in range(count):
            x[number * ROWS_AT_ONCE : (number + 1) * ROWS_AT_ONCE] = rows(number)


def write_parquet(path: Path, count: int, npy: Path) -> None:
    import polars as pl

    whole = np.load(npy, mmap_mode="r")[: count * ROWS_AT_ONCE]
    pl.DataFrame(whole, schema=[f"x{i}" for i in range(DIM)]).write_parquet(path)


def child(path: Path, how: str) -> dict:
    """What a fresh process measures."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), how, str(LATENT_DIM)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Write, measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    count = max(round(options.gigabytes * 1e9 / (4 * DIM * ROWS_AT_ONCE)), 5)
    table = Table("file", "GB", "check, s", "rows/s", "MB/s", "of in memory", "resident, GB")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        npy, small = folder / "large.npy", folder / "small.npy"
        write_npy(npy, count)
        write_npy(small, min(count, 16))
        write_h5(folder / "fifth.h5", count // 5)
        write_parquet(folder / "fifth.parquet", count // 5, npy)
        reference = None
        for path, how in (
            (small, "memory"),
            (npy, "stream"),
            (folder / "fifth.h5", "stream"),
            (folder / "fifth.parquet", "stream"),
        ):
            found = child(path, how)
            reference = reference or found["rate"]
            table.add_row(
                f"{path.suffix}, {'in memory' if how == 'memory' else 'streamed'}",
                f"{path.stat().st_size / 1e9:.3g}",
                f"{found['opened']:.1f}",
                f"{found['rate']:.3g}",
                f"{found['rate'] * 4 * DIM / 1e6:.3g}",
                f"{found['rate'] / reference:.0%}",
                f"{found['rss'] / 1e9:.2f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
