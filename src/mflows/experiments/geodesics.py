r"""Geodesics of learned manifolds beside those that are known.

    mflows experiment geodesics --seeds 3

Fifty pairs of points that training has not seen, on three manifolds:

* the prescribed sphere, nothing trained: great circles
* a swiss roll of 12,000 points, learned: straight lines of the unrolled sheet
* the polynomial surface of 100,000 points at theta = 0, learned: the shortest curves on the true
  surface, by SciPy's L-BFGS in double precision from the line between the true coordinates; and
  shortest paths over a fine mesh, whose edges lead to 96 neighbours, so that they are up to .5%
  too long

A row has the error of the length, relative to the true one, median and largest of the pairs, and
how much longer the straight line between the coordinates is.
"""

import time
from collections.abc import Callable
from itertools import product
from math import gcd
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import StandardNormal
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from mflows.charts import FunctionChart, Sphere
from mflows.data import save_array
from mflows.experiments.driver import Experiment, Job, Row, folder
from mflows.flow import Flow
from mflows.riemannian import geodesic
from mflows.runs import commit
from mflows.saving import load
from mflows.simulators import Arm, PolynomialSurface
from mflows.simulators.rolled import SwissRoll
from mflows.training import recipes

PAIRS = 50
STEPS = 64
SURFACE, ROLL = 100_000, 12_000
"""Points to learn from."""
MESH, REACH, EXTENT = 0.03, 5, 7.0
"""Spacing of the mesh over z, how far its edges reach, half of its width."""
FINE = 10
"""Points along a step of the straight line, for its length."""

Lengths = Callable[[np.ndarray, np.ndarray], np.ndarray]


def measure(job: Job) -> Row:
    """Geodesics between pairs of points of one manifold."""
    name, key = job.labels["manifold"], jr.key(1_000 + job.seed)
    pairs = 4 if job.quick else PAIRS
    if name == "sphere":
        x = np.asarray(jr.normal(key, (2 * pairs, 3)))
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        flow, truth = Flow(Sphere(2), StandardNormal((2,))), great_circles
    else:
        x, truth = new_points(name, key, 2 * pairs)
        flow = learned(job, name)
    a, b = x[:pairs], x[pairs:]
    geodesic(flow, a, b, steps=STEPS)  # compiled
    started = time.perf_counter()
    found = jax.tree.map(np.asarray, geodesic(flow, a, b, steps=STEPS))
    seconds = (time.perf_counter() - started) / pairs
    true = truth(a, b)
    error = np.abs(found.length / true - 1)
    start, end = (np.asarray(flow.encode(each)) for each in (a, b))
    line = np.asarray(flow.decode(np.linspace(start, end, FINE * STEPS, axis=1)))
    row = {
        "error": float(np.median(error)),
        "error_max": float(error.max()),
        "converged": float(found.converged.mean()),
        "straight": float(np.median(lengths_of(line) / true - 1)),
        "straight_max": float((lengths_of(line) / true - 1).max()),
        "reconstruction": float(np.asarray(flow.distance(x)).mean()),
        "seconds": seconds,
        "commit": commit(),
        "status": "finished",
    }
    if name == "polynomial-surface":
        count = 2 if job.quick else 10
        row["mesh"] = float(np.median(over_mesh(a[:count], b[:count]) / true[:count] - 1))
    return row


def learned(job: Job, name: str) -> Flow:
    """An M-flow of the manifold of this name."""
    surface = name == "polynomial-surface"
    count = 500 if job.quick else SURFACE if surface else ROLL

    def write(path: Path) -> None:
        key = jr.key(job.seed)
        theta = jnp.zeros((count, 1))
        x = PolynomialSurface().simulate(key, theta) if surface else SwissRoll().draw(key, count)
        save_array(path, np.asarray(x))

    return job.train(
        folder(job.out, name, job.seed),
        job.file(f"{name}-{job.seed}.npy", write),
        "m-flow",
        latent_dim=2,
        epochs=50 if surface else recipes.epochs_for(round(0.9 * ROLL)),
        settings={"bins": 16} if surface else None,
        validation_fraction=0.25 if surface else 0.1,
    ).flow


def new_points(name: str, key, count: int) -> tuple[np.ndarray, Lengths]:
    """Points of a manifold, and the true lengths of the geodesics between such points."""
    if name == "swiss-roll":
        return np.asarray(SwissRoll().draw(key, count)), unrolled
    x = PolynomialSurface().simulate(key, jnp.zeros((count, 1)))
    return np.asarray(x), by_scipy


def great_circles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the unit sphere."""
    return np.arccos(np.clip((a * b).sum(axis=1), -1, 1))


def unrolled(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the swiss roll: straight lines over the arc length of its spiral and its height."""
    flat = []
    for x in (a, b):
        t, height = np.asarray(SwissRoll().unembed(x), np.float64).T
        arc = (t * np.sqrt(1 + t**2) + np.arcsinh(t)) / 2
        flat.append(np.stack([arc, height], axis=1))
    return np.linalg.norm(flat[0] - flat[1], axis=1)


def by_scipy(a: np.ndarray, b: np.ndarray, steps: int = 128) -> np.ndarray:
    """Of the polynomial surface: curves of least energy over its plane, by SciPy's L-BFGS."""
    truth = PolynomialSurface()

    @jax.jit
    @jax.value_and_grad
    def energy(inner, ends):
        z = jnp.concatenate([ends[:1], inner.reshape(-1, 2), ends[1:]])
        return steps * jnp.square(jnp.diff(truth.embed(z), axis=0)).sum()

    found = []
    with jax.enable_x64(True):
        for ends in np.stack([truth.unembed(a), truth.unembed(b)], axis=1).astype(np.float64):
            start = np.linspace(ends[0], ends[1], steps + 1)
            best = minimize(
                lambda inner, ends=ends: [np.array(each) for each in energy(inner, ends)],
                start[1:-1].ravel(),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-14, "gtol": 1e-10},
            )
            z = np.vstack([ends[:1], best.x.reshape(-1, 2), ends[1:]])
            x = np.asarray(truth.embed(z))[None]
            found.append((4 * lengths_of(x) - lengths_of(x[:, ::2]))[0] / 3)
    return np.array(found)


def over_mesh(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the polynomial surface: shortest paths over a mesh, from above."""
    truth = PolynomialSurface()
    side = round(2 * EXTENT / MESH) + 1
    axis = np.linspace(-EXTENT, EXTENT, side)
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    x = np.asarray(truth.embed(z), np.float64)
    index = np.arange(side * side).reshape(side, side)
    starts, ends, lengths = [], [], []
    for i, j in product(range(REACH + 1), range(-REACH, REACH + 1)):
        if gcd(i, j) != 1 or (i == 0 and j < 0):
            continue
        here = (slice(None, side - i), slice(max(-j, 0), side - max(j, 0)))
        there = (slice(i, None), slice(max(j, 0), side + min(j, 0)))
        middle = np.asarray(truth.embed((z[here] + z[there]) / 2), np.float64)
        first, second = (np.linalg.norm(middle - x[at], axis=-1) for at in (here, there))
        starts.append(index[here].ravel())
        ends.append(index[there].ravel())
        lengths.append((first + second).ravel())
    where = np.concatenate(starts), np.concatenate(ends)
    graph = csr_matrix((np.concatenate(lengths), where), shape=(side * side, side * side))
    nodes = [
        np.ravel_multi_index(
            tuple(
                np.rint((np.asarray(truth.unembed(p)).T + EXTENT) / MESH)
                .astype(int)
                .clip(0, side - 1)
            ),
            (side, side),
        )
        for p in (a, b)
    ]
    found = dijkstra(graph, directed=False, indices=nodes[0])[np.arange(len(a)), nodes[1]]
    # The ends are moved to the mesh: so is the length, as a distance in space is.
    flat = x.reshape(-1, 3)
    moved = np.linalg.norm(a - b, axis=1) / np.linalg.norm(flat[nodes[0]] - flat[nodes[1]], axis=1)
    return found * moved


def lengths_of(x: np.ndarray) -> np.ndarray:
    """Lengths of polygons (..., T, D)."""
    return np.linalg.norm(np.diff(x, axis=-2), axis=-1).sum(axis=-1)


def finish(out: Path, rows: list[Row]) -> None:
    """A figure of the learned surface of the first seed, and of the arm."""
    for row in rows:
        if row["manifold"] == "polynomial-surface":
            draw(out / "geodesics.png", load(folder(out, row["manifold"], row["seed"])))
            return


def draw(path: Path, flow: Flow) -> None:
    """Straight latent line and geodesic, on the learned surface and between two poses of an arm."""
    truth = PolynomialSurface()
    ends = np.asarray(truth.embed(np.array([[-2.6, 1.3], [2.2, -2.4]])))
    found = geodesic(flow, *ends, steps=STEPS)
    codes = np.asarray(flow.encode(ends))
    line = np.asarray(flow.decode(np.linspace(codes[0], codes[1], 400)))
    figure = Figure(figsize=(10, 6.4), dpi=130)
    panel: Any = figure.add_axes((0.0, 0.33, 0.56, 0.66), projection="3d", computed_zorder=False)
    radius, angle = np.meshgrid(np.linspace(0, 4.2, 80), np.linspace(0, 2 * np.pi, 160))
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    x = flow.project(np.asarray(truth.embed(z)).reshape(-1, 3))
    shade = np.exp(np.asarray(flow.log_prob(x)) / 4).reshape(radius.shape)
    panel.plot_surface(
        *np.asarray(x).T.reshape(3, *radius.shape),
        facecolors=colormaps["viridis"](np.clip(0.1 + 0.9 * shade / shade.max(), 0, 1)),
        rcount=160, ccount=80, linewidth=0, antialiased=False, shade=False,
    )  # fmt: skip
    curves = {
        "straight line of coordinates": (line, "k", ":"),
        "geodesic": (found.x, "#d55e00", "-"),
    }
    for name, (curve, colour, dash) in curves.items():
        length = lengths_of(np.asarray(curve, np.float64))
        panel.plot(
            *np.asarray(curve).T, dash, color=colour, lw=2.6, label=f"{name}, length {length:.2f}"
        )
    panel.plot(*ends.T, "o", color="k", ms=6)
    panel.set(xlim=(-4, 4), ylim=(-4, 4), zlim=(-4, 2))
    panel.set_box_aspect((1, 1, 0.75), zoom=1.12)
    panel.view_init(elev=48, azim=40)
    panel.set_axis_off()
    figure.legend(*panel.get_legend_handles_labels(), loc=(0.57, 0.56), frameon=False, fontsize=12)
    figure.text(
        0.58, 0.76, "Shortest curves on a learned surface,\nand of pictures of an arm", fontsize=14
    )
    arm = Arm(2, 32)
    chart = FunctionChart(arm.embed, arm.unembed, shape=arm.shape, latent_dim=2)
    poses = np.array([[-1.1, 0.9], [0.9, -0.8]])
    whole = geodesic(Flow(chart, StandardNormal((2,))), *np.asarray(arm.embed(poses)), steps=STEPS)
    straight = np.asarray(arm.embed(np.linspace(poses[0], poses[1], STEPS + 1)))
    for height, pictures, name in ((0.16, straight, "straight"), (0.0, whole.x, "geodesic")):
        figure.text(0.01, height + 0.07, name, fontsize=12, va="center")
        for place, t in enumerate(np.linspace(0, STEPS, 9).astype(int)):
            cell = figure.add_axes((0.09 + 0.1 * place, height + 0.005, 0.095, 0.14))
            cell.imshow(np.clip(np.asarray(pictures[t]), 0, 1))
            cell.set_axis_off()
    figure.savefig(path)


EXPERIMENT = Experiment(
    title="Geodesics: error of the length, relative",
    measure=measure,
    system="m-flow",
    axes={"manifold": ("sphere", "swiss-roll", "polynomial-surface")},
    quick={"manifold": ("sphere", "polynomial-surface")},
    seeds=3,
    columns={
        "error": "error",
        "error_max": "largest",
        "converged": "converged",
        "straight": "straight line",
        "mesh": "mesh, longer by",
        "reconstruction": "reconstr.",
        "seconds": "s per pair",
    },
    finish=finish,
)
