"""What Hypothesis draws: charts far from the identity, and points where charts are hard.

Compiling is what takes time, so structures (dimensions, layers, widths) come from a small table;
weights, placements, conditions and points are drawn freely, and one program serves all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from paramax import unwrap
from tests.registry import disturbed, key

from mflows.charts import (
    BijectionChart,
    Chart,
    Circle,
    Encoded,
    FunctionChart,
    Generator,
    Pad,
    Placement,
    Product,
    Sphere,
    Torus,
    circular_spline_stack,
    conformal_stack,
    place,
    placement_of,
    sphere_spline_stack,
    spline_stack,
)
from mflows.nets import SkipMLP

POINTS = 5
"""Points per example: one program evaluates all of them."""

INTERVAL, BINS = 4.0, 4
"""Of the splines, so that ends and edges of bins can be drawn."""


quickly = partial(eqx.filter_jit, compiler_options={"xla_backend_optimization_level": 0})
"""Compile for speed of compiling."""


@dataclass(frozen=True)
class Structure:
    """What one program is compiled for.

    Args:
        build: The chart or layer, with its initial weights.
        inputs: Strategy for one number of its input.
        disturbance: Largest size of normal noise that is added to its weights.
        polar: How many of the first inputs are polar angles, from 0 to pi.
        periodic: Whether inputs and outputs are angles, pi the same as -pi.
    """

    build: Callable[[], Any]
    inputs: st.SearchStrategy[float]
    disturbance: float = 0.0
    polar: int = 0
    periodic: bool = False


@dataclass(frozen=True)
class Drawn:
    """A chart or layer and where to try it.

    Args:
        name: That of its structure.
        part: The chart or layer.
        u: Points of its domain, shape (POINTS, n).
        frame: Tangent vectors at each of them, shape (POINTS, 2, n).
        off: Points anywhere in space, shape (POINTS, D).
        condition: A condition for each of them, or ``None``.
        periodic: Whether points are angles.
    """

    name: str
    part: Any = field(repr=False)
    u: np.ndarray
    frame: np.ndarray
    off: np.ndarray
    condition: np.ndarray | None
    periodic: bool


def graph(u, theta):
    """A surface over the plane whose shape is the condition."""
    height = jnp.sin(theta[0] * u[0]) + theta[1] * u[0] * u[1]
    return jnp.append(u, height)


def stack(dim: int, cond_dim: int | None = None, **settings):
    given = {"bins": BINS, "interval": INTERVAL, "cond_dim": cond_dim, **settings}
    return spline_stack(key(0), dim, **given)


def padded(n: int, bijection) -> Chart:
    (dim,) = bijection.shape
    return Pad(n, dim).then(bijection).then(Placement.identity(dim, n))


def autoencoder(n: int, dim: int, **settings) -> Chart:
    generator = Generator(SkipMLP(key(1), n, dim, **settings))
    encoded = Encoded(generator, SkipMLP(key(2), dim, n, **settings))
    return encoded.then(Placement.identity(dim, n))


# Zero, edges of bins of the undisturbed spline, ends of the interval, and far beyond it.
EDGES = [*np.linspace(-INTERVAL, INTERVAL, BINS + 1), -0.0, np.nextafter(INTERVAL, 9)]
real = st.sampled_from(EDGES) | st.floats(-INTERVAL, INTERVAL) | st.floats(-100, 100)
near = st.floats(-2, 2)
angle = st.sampled_from([0.0, -np.pi, np.pi / 2]) | st.floats(-np.pi, np.pi, exclude_max=True)

PADDED = {
    "conditional LU curve": Structure(
        lambda: padded(1, stack(2, cond_dim=2, layers=2, width=4, linear=True)),
        real,
        disturbance=0.4,
    ),
    "three in five dimensions": Structure(
        lambda: padded(3, stack(5, layers=3, width=8, bins=3)), real, disturbance=0.7
    ),
    "conformal surface": Structure(  # not placed: scaling axes differently changes angles
        lambda: Pad(2, 4).then(conformal_stack(key(3), 4, layers=2, reach=9.0)),
        near,
        disturbance=0.05,
    ),
}
INVERTIBLE = PADDED | {
    "conditional space": Structure(
        lambda: BijectionChart(stack(2, cond_dim=1, layers=2, width=8)).then(Placement.identity(2)),
        real,
        disturbance=0.7,
    ),
    "circle": Structure(Circle, angle),
    "torus": Structure(lambda: Torus(3), angle),
    "sphere": Structure(lambda: Sphere(2), angle, polar=1),
    "three-sphere": Structure(lambda: Sphere(3), angle, polar=2),
    "product": Structure(lambda: Product(Sphere(2), Circle(), Pad(1, 2)), angle, polar=1),
    "conditional graph": Structure(
        lambda: FunctionChart(
            graph, lambda x, theta: x[:2], shape=(3,), latent_dim=2, cond_shape=(2,)
        ),
        st.floats(-100, 100),
    ),
}
"""Charts whose encoder inverts their decoder."""

CHARTS = INVERTIBLE | {
    "conditional autoencoder": Structure(
        lambda: autoencoder(2, 3, cond_size=1, width=8, blocks=1), real, disturbance=0.3
    ),
}

LAYERS = {
    "LU spline couplings": Structure(
        lambda: stack(3, cond_dim=2, layers=2, width=4, linear=True), real, disturbance=0.4
    ),
    "circular splines": Structure(
        lambda: circular_spline_stack(key(4), 2, layers=2, bins=BINS, width=8),
        angle,
        disturbance=0.7,
        periodic=True,
    ),
    "sphere splines": Structure(
        lambda: sphere_spline_stack(key(5), 3, layers=2, bins=BINS, width=8),
        st.floats(-5, 5),
        disturbance=0.7,
    ),
}


@cache
def built(structure: Structure):
    """The undisturbed chart or layer, by one program rather than one for each random draw."""
    return quickly(structure.build)()


@st.composite
def placements(draw, like: Placement) -> Placement:
    """Shifts, scales over orders of magnitude, and a plane."""
    (dim,) = like.shape
    mean = draw(arrays(float, dim, elements=st.floats(-100, 100)))
    scale = 10 ** draw(arrays(float, dim, elements=st.floats(-2, 2)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return Placement(mean, scale, np.linalg.qr(rng.normal(size=(dim, like.plane_dim)))[0].T)


@st.composite
def drawn(draw, structures: dict[str, Structure]) -> Drawn:
    """One of the structures, disturbed and placed, and points to try it at."""
    name = draw(st.sampled_from(list(structures)))
    structure = structures[name]
    part = built(structure)
    if structure.disturbance:
        size, seed = draw(st.floats(0, structure.disturbance)), draw(st.integers(0, 999))
        part = disturbed(part, size, seed)
    n = part.latent_dim if isinstance(part, Chart) else part.shape[0]
    if (old := placement_of(part)) is not None:
        part = place(part, draw(placements(old)))
    u = draw(arrays(float, (POINTS, n), elements=structure.inputs))
    # Away from the poles, where spherical coordinates are none.
    u[:, : structure.polar] = np.clip(np.abs(u[:, : structure.polar]), 0.1, np.pi - 0.1)
    frame = draw(arrays(float, (POINTS, 2, n), elements=st.floats(-1, 1)))
    off = draw(arrays(float, (POINTS, *part.shape), elements=structure.inputs))
    if (placed := unwrap(placement_of(part))) is not None:
        off = np.array([placed.transform(x) for x in off])
    given = part.cond_shape
    condition = None if given is None else draw(arrays(float, (POINTS, *given), elements=near))
    return Drawn(name, part, u, frame, off, condition, structure.periodic)
