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

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import Normal, StandardNormal, VmapMixture
from jaxtyping import ArrayLike
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
from mflows.simulators.arm import MEANS, WEIGHTS, WIDTHS
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

ENDS = ((-0.63, 2.95), (2.09, -1.45))
"""Points of the plane of z above which the curves on the surface end."""
POSES = ((0.95, -0.1), (-0.95, 0.6))
"""Coordinates of the two poses of the arm."""
SHOWN = 7
COLOURS = {"straight latent line": "#ff9a1f", "geodesic": "#e6004c", "with density=1": "#7fd4ff"}

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
            flow = load(folder(out, row["manifold"], row["seed"]))
            draw(out / "geodesics.png", flow, quick=row.get("quick", False))
            return


def arm_flow() -> Flow:
    """The true manifold and density of pictures of an arm, at theta = 0."""
    arm = Arm(joints=2, size=48)
    chart = FunctionChart(arm.embed, arm.unembed, shape=arm.shape, latent_dim=2)
    parts = eqx.filter_vmap(Normal)(
        jnp.broadcast_to(jnp.array(MEANS)[:, None], (2, 2)),
        jnp.broadcast_to(jnp.array(WIDTHS)[:, None], (2, 2)),
    )
    return Flow(chart, VmapMixture(parts, jnp.array(WEIGHTS)))


def draw(path: Path, flow: Flow, *, quick: bool = False) -> None:
    """Write the figure.

    Args:
        path: File to write.
        flow: A flow of the polynomial surface at theta = 0.
        quick: Fewer colours and steps, and no density, which takes a minute to compile.
    """
    figure = Figure(figsize=(12, 4.2), dpi=100 if quick else 160)
    surface = figure.add_axes((-0.04, 0.03, 0.45, 0.93), projection="3d")
    powers = (0, 0) if quick else (0, 1)
    _draw_surface(surface, flow, 20 if quick else 160, powers)
    _draw_arm(figure, 4 if quick else 32, powers)
    for x, title in (
        (0.19, "a learned surface, coloured by density"),
        (0.735, "pictures between two poses of an arm"),
    ):
        figure.text(x, 0.94, title, ha="center", fontsize=13)
    figure.savefig(path)


def _draw_surface(panel, flow: Flow, fineness: int, powers: tuple[int, int]) -> None:
    simulator = PolynomialSurface()
    radius, angle = np.meshgrid(
        np.linspace(0, 3.6, fineness // 2), np.linspace(0, 2 * np.pi, fineness)
    )
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    sheet = np.asarray(flow.project(simulator.embed(z).reshape(-1, 3)))
    shade = np.exp(np.asarray(flow.log_prob(sheet)) / 2).reshape(radius.shape)
    panel.computed_zorder = False
    panel.plot_surface(
        *sheet.T.reshape(3, *radius.shape),
        facecolors=colormaps["viridis"](np.clip(shade / shade.max(), 0, 1)),
        rcount=fineness,
        ccount=fineness // 2,
        linewidth=0,
        antialiased=False,
        shade=False,
        zorder=1,
    )
    ends = np.asarray(simulator.embed(np.array(ENDS)))
    found = [geodesic(flow, *ends, steps=64, density=power) for power in powers]
    line = flow.decode(np.linspace(found[0].u[0], found[0].u[-1], 200))
    lift = np.array([0, 0, 0.06])
    for (name, colour), x in zip(COLOURS.items(), (line, found[0].x, found[1].x), strict=True):
        x = np.asarray(x)
        length = np.linalg.norm(np.diff(x, axis=0), axis=1).sum()
        panel.plot(*(x + lift).T, color="black", linewidth=4, zorder=2)
        panel.plot(
            *(x + lift).T, color=colour, linewidth=2.4, zorder=3, label=f"{name}, {length:.2f}"
        )
    panel.plot(*(ends + lift).T, "o", color="white", markeredgecolor="black", zorder=4)
    panel.set_box_aspect((1, 1, 0.7), zoom=1.32)
    panel.view_init(elev=55, azim=45)
    panel.set_axis_off()
    panel.legend(
        loc="lower center",
        bbox_to_anchor=(0.53, -0.03),
        frameon=False,
        ncols=3,
        columnspacing=1,
        handlelength=1.4,
        fontsize=8.5,
    )


def _draw_arm(figure: Figure, steps: int, powers: tuple[int, int]) -> None:
    flow = arm_flow()
    poses = flow.decode(np.array(POSES))
    found, dense = (
        geodesic(flow, *np.asarray(poses), steps=steps, density=power) for power in powers
    )
    even, fine = np.linspace(0, 1, SHOWN), np.linspace(0, 1, 257)
    line = np.stack([found.u[0], found.u[-1]])
    share = even[:, None, None, None]
    a, b = np.asarray(found.x)[[0, -1]]
    rows = [("mean of the\npictures", (1 - share) * a + share * b)]
    for name, u in zip(COLOURS, (line, found.u, dense.u), strict=True):
        x = np.asarray(flow.decode(_along(u, fine))).reshape(len(fine), -1)
        length = np.linalg.norm(np.diff(x, axis=0), axis=1).sum()
        label = name.replace(" ", "\n", 1) + f"\n{length:.0f}"
        rows.append((label, np.asarray(flow.decode(_along(u, even)))))
    places = {"left": 0.49, "right": 0.995, "top": 0.91, "bottom": 0.01}
    axes = figure.subplots(4, SHOWN, gridspec_kw={**places, "wspace": 0.04, "hspace": 0.06})
    for row, (label, pictures) in zip(axes, rows, strict=True):
        for panel, picture in zip(row, pictures, strict=True):
            panel.imshow(np.clip(picture, 0, 1))
            panel.set(xticks=[], yticks=[])
            for side in panel.spines.values():
                side.set_visible(False)
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=6)


def _along(u: ArrayLike, share: np.ndarray) -> np.ndarray:
    """Coordinates at shares of the way along nodes."""
    nodes = np.asarray(u)
    times = np.linspace(0, 1, len(nodes))
    return np.stack([np.interp(share, times, each) for each in nodes.T], axis=1)


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
