"""Straight lines of coordinates and geodesics, on a learned surface and between poses of an arm."""

from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from flowjax.distributions import Normal, VmapMixture
from jaxtyping import ArrayLike
from matplotlib import colormaps
from matplotlib.figure import Figure

from mflows.charts import FunctionChart
from mflows.experiments.geodesics.truth import lengths_of
from mflows.flow import Flow
from mflows.riemannian import geodesic
from mflows.simulators import Arm, PolynomialSurface
from mflows.simulators.arm import MEANS, WEIGHTS, WIDTHS

ENDS = ((-0.63, 2.95), (2.09, -1.45))
"""Points of the plane of z above which the curves on the surface end."""
POSES = ((0.95, -0.1), (-0.95, 0.6))
"""Coordinates of the two poses of the arm."""
SHOWN = 7
COLOURS = {"straight latent line": "#ff9a1f", "geodesic": "#e6004c", "with density=1": "#7fd4ff"}


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
        length = lengths_of(x)
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
        length = lengths_of(x)
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
