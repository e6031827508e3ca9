"""Synthetic contents of reports: a 'model' that is the truth, slightly and smoothly bent."""

from collections.abc import Callable

import numpy as np
import pytest

from mflows.pages import (
    Conditioning,
    Content,
    Decoded,
    Manifold,
    Points,
    Projected,
    Table,
    View,
)

HEIGHT = [
    -1.2168586603515, 1.5222185058080, -1.2137184774524, 0.0565082877925, -0.0238915801177,
    -0.0466790086350, -0.0556848662447, -0.0076749463583, -0.0571792899188, -0.0516948423201,
    0.0137135697661, 0.0001957832102, -0.0070856847415, -0.0066261159038, 0.0033305025719,
    -0.0083231939924, -0.0109518626457, 0.0040810678602, -0.0046477796818, -0.0088060082049,
    0.0121157043797,
]  # fmt: skip
ROTATION = np.array(
    [
        [0.9738872159, -0.2268605674, -0.0088302698],
        [0.2270319382, 0.9730738939, 0.0397956792],
        [-0.0004355654, -0.0407612565, 0.9991688197],
    ]
)


def height(z: np.ndarray) -> np.ndarray:
    """Height of the polynomial surface over z, shape (..., 2)."""
    powers = [(i - j, j) for i in range(6) for j in range(i + 1)]
    total = sum(
        c * z[..., 0] ** a * z[..., 1] ** b for c, (a, b) in zip(HEIGHT, powers, strict=True)
    )
    return total * np.exp(-0.1 * (z**2).sum(-1))


def surface_log_prob(z: np.ndarray, theta: float, step: float = 1e-4) -> np.ndarray:
    """Exact log density on the polynomial surface, its slope by central differences."""
    scale = 0.2 + 0.8 * (0.5 + 0.5 * theta)
    parts = [
        np.log(w) - ((z - m) ** 2).sum(-1) / (2 * s**2) - np.log(2 * np.pi * s**2)
        for w, m, s in ((0.6, (1, -1), 2.0), (0.4, (-1, 1), scale))
    ]
    moves = step * np.eye(2)
    slope = [(height(z + h) - height(z - h)) / (2 * step) for h in moves]
    return np.logaddexp(*parts) - 0.5 * np.log1p(slope[0] ** 2 + slope[1] ** 2)


def surface_points(z: np.ndarray) -> np.ndarray:
    return np.concatenate([z, height(z)[..., None]], axis=-1) @ ROTATION.T


def bent(x: np.ndarray, amount: float) -> np.ndarray:
    return x + amount * np.sin(1.3 * np.roll(x, 1, axis=-1) + 0.4)


def history(phases: tuple[tuple[str, float, float], ...], epochs: int, seed: int = 0) -> list[dict]:
    rng, rows = np.random.default_rng(seed), []
    for phase, start, end in phases:
        for e in range(1, epochs + 1):
            train = end + (start - end) * np.exp(-5 * e / epochs)
            noise = 1 + 0.04 * rng.normal() * np.exp(-2 * e / epochs)
            rows.append(
                {"phase": phase, "epoch": e, "train": train, "validation": 1.02 * train * noise}
                | {"seconds": 2.1}
            )
    return rows


def surface_content(points: int = 6000, grid: int = 90) -> Content:
    rng = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        wide = rng.random(count) < 0.6
        z = np.where(wide[:, None], [1.0, -1.0], [-1.0, 1.0])
        return z + np.where(wide, 2.0, 0.6)[:, None] * rng.normal(size=(count, 2))

    def points_of(z: np.ndarray, error: float) -> Points:
        distance = error * np.exp(0.7 * rng.normal(size=len(z)))
        log_prob = surface_log_prob(z, 0.0) + 0.02 * rng.normal(size=len(z))
        return Points(surface_points(z), log_prob, distance)

    axis = np.linspace(-5.5, 5.5, grid)
    mesh = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    x = surface_points(mesh)
    views = [
        View(
            Manifold(bent(x, 0.12), surface_log_prob(mesh, t) + 0.15 * np.sin(x[..., 0])),
            Manifold(x, surface_log_prob(mesh, t)),
            label,
        )
        for t, label in ((0.0, "theta = 0"), (-1.0, "theta = -1"), (1.0, "theta = 1"))
    ]
    z = draw(points)
    columns = ["model", "distance", "reconstruction", "OOD AUC", "seeds"]
    rows = [
        ["AF", 0.005, "–", 0.990, 5],
        ["M-flow", 0.0021, 0.0034, 0.986, 5],
        ["PIE", 0.035, 1.278, 0.933, 5],
    ]
    return Content(
        title="M-flow on the polynomial surface",
        lead="A two-dimensional manifold in three dimensions with a known density, learned from "
        "100,000 points at random values of one parameter.",
        summary={
            "held-out mean log density": "-3.412 nats",
            "held-out mean distance": "0.0026",
            "dimension": "n = 2 in D = 3",
            "parameters": "447 k",
            "training points": "75,000",
            "training time": "3 min 30 s",
        },
        settings={
            "model": "m-flow, 5 coupling steps outside, 5 inside, 10 bins",
            "recipe": "manifold then density, 50 epochs each",
            "batch size": "100",
            "learning rate": "1e-3, cosine to 0",
        },
        provenance={
            "mflows": "0.1.0, commit 0123abc",
            "machine": "2 cores, CPU",
            "seed": "0",
            "command": "mflows fit surface.npz --latent-dim 2 --condition theta --out runs/surface",
        },
        history=history((("manifold", 1.5, 2e-4), ("density", 6.0, 3.4)), 50),
        train=points_of(draw(3 * points), 0.002),
        held_out=points_of(z, 0.002),
        conditioning=Conditioning(1 + rng.chisquare(3, size=len(z)), limit=84_000.0),
        samples=bent(surface_points(draw(points)), 0.03),
        latent=0.4 * z + 0.1 * np.sin(z[:, ::-1]),
        names=["x", "y", "z"],
        views=views,
        tables=[Table("Comparison of models", columns, rows, "Medians of five seeds.")],
    )


def wide_content() -> Content:
    """D = 8, n = 3, names that need escaping, alternating phases, and much to warn about."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(3, 8)) * np.linspace(0.5, 2, 8)

    def points(count: int, error: float) -> tuple[Points, np.ndarray]:
        u = rng.normal(size=(count, 3))
        distance = error * rng.chisquare(5, count)
        log_prob = -0.5 * (u**2).sum(1)
        log_prob[:2] = np.nan
        distance[5] = 300 * error
        return Points(np.tanh(u) @ a, log_prob, distance), u

    numbers = np.append(np.geomspace(1, 1e9, 2998), [np.inf, np.nan])
    rounds = (("reconstruction & <b>", 2.0, 0.1), ("density", 3.0, -1.2)) * 4
    held_out, u = points(3000, 0.01)
    names = ["<script>alert(1)</script>", "a & b", "$E_T$", '"quoted"', "pT", "eta", "phi"]
    return Content(
        title="Eight columns </script><script>alert(2)</script>",
        summary={"<i>a</i>": "<img src=x onerror=alert(3)>"},
        settings={"condition": "none"},
        history=history(rounds, 6),
        train=points(3000, 0.004)[0],
        held_out=held_out,
        conditioning=Conditioning(numbers, limit=84_000.0),
        samples=np.tanh(rng.normal(size=(3000, 3)) * 1.2) @ a,
        latent=u,
        names=[*names, "a rather long name of a column, really"],
        tables=[Table("A </table> & more", ["<th>", "n"], [["<td>", 1], ["b", None]])],
    )


def curve_content(dim: int = 2) -> Content:
    rng = np.random.default_rng(2)
    phi = np.linspace(-np.pi, np.pi, 300)

    def place(angle: np.ndarray, radius: float | np.ndarray) -> np.ndarray:
        x = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0.3 * np.sin(2 * angle)], -1)
        return x[..., :dim]

    def log_prob(angle: np.ndarray) -> np.ndarray:
        return np.cos(angle - np.pi / 2) * 1.6 - 2.2

    angle = rng.vonmises(np.pi / 2, 1.6, 2000)
    error = 0.01 * rng.normal(size=2000)
    gap = np.where(np.arange(300) < 20, np.nan, 0.0)  # where the model has no density
    points = Points(place(angle, 1 + error), log_prob(angle), np.abs(error))
    model = Manifold(
        place(phi, 1 + 0.03 * np.cos(3 * phi)), log_prob(phi) + 0.1 * np.sin(phi) + gap
    )
    return Content(
        title="Circle",
        summary={"held-out mean distance": "0.008"},
        history=history((("manifold", 0.3, 1e-4),), 12),
        train=points,
        held_out=points,
        conditioning=Conditioning(np.ones(2000), limit=84_000.0),
        samples=place(rng.vonmises(np.pi / 2, 1.6, 2000), 1.0),
        latent=angle[:, None],
        views=[View(model, Manifold(place(phi, 1.0), log_prob(phi)))],
    )


def image_content() -> Content:
    """Orange blobs of 8 x 8 pixels, placed by two numbers."""
    rng = np.random.default_rng(3)
    row, column = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")

    def images(u: np.ndarray) -> np.ndarray:
        y, x = (a[:, None, None] for a in 3.5 + 1.5 * u.T)
        return np.exp(-0.3 * ((row - y) ** 2 + (column - x) ** 2))[..., None] * [1, 0.6, 0.1]

    def points(count: int) -> tuple[Points, np.ndarray]:
        u = rng.normal(size=(count, 2))
        noise = 0.01 * rng.normal(size=(count, 8, 8, 3))
        distance = np.linalg.norm(noise.reshape(count, -1), axis=1)
        return Points(images(u) + noise, -0.5 * (u**2).sum(1), distance), u

    held_out, u = points(200)
    assert held_out.distance is not None
    farthest = np.argsort(-held_out.distance)[:10]
    grid = np.stack(np.meshgrid(np.linspace(-2, 2, 6), np.linspace(2, -2, 5)), -1).reshape(-1, 2)

    def projected(rows: np.ndarray) -> Projected:
        return Projected(held_out.x[rows], images(u[rows]), held_out.distance[rows], rows)

    return Content(
        title="Images",
        train=points(400)[0],
        held_out=held_out,
        samples=images(0.6 * rng.normal(size=(200, 2))),
        projected=projected(np.arange(10)),
        worst=projected(farthest),
        decoded=Decoded(
            images(grid).reshape(5, 6, 8, 8, 3), list("edcba"), list("123456"), "Moved."
        ),
        latent=u,
    )


CONTENTS: dict[str, Callable[[], Content]] = {
    "surface": lambda: surface_content(points=2000, grid=40),
    "wide": wide_content,
    "curve": curve_content,
    "space curve": lambda: curve_content(dim=3),
    "images": image_content,
    "title only": lambda: Content(title="Nothing yet"),
}


@pytest.fixture(scope="session")
def all_contents() -> dict[str, Callable[[], Content]]:
    """Makers of all contents, by name."""
    return CONTENTS


@pytest.fixture(params=CONTENTS)
def content(request: pytest.FixtureRequest) -> Content:
    return CONTENTS[request.param]()
