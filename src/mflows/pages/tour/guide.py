"""What a tour asks of a run: points and densities at coordinates, a user's own points, walks."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import StandardNormal

from mflows import simulators
from mflows.batches import at_point, over_points
from mflows.charts import FunctionChart, Unavailable
from mflows.data import DataError
from mflows.flow import Flow
from mflows.pages.images import brightness, colours
from mflows.riemannian import geodesic
from mflows.riemannian.geodesics import Search, without_density
from mflows.runs import Run
from mflows.simulators import HasSurface
from mflows.verdict import at_points
from mflows.volume import Auto, condition_number

Numbers = Sequence[float] | np.ndarray

ROWS = 1000
"""Held-out rows that stand for the data."""
MIDDLE = (0.002, 0.998)
"""Quantiles of the coordinates of the data between which sliders move."""
SPREAD = (0.05, 0.5, 0.95)
"""Quantiles of the columns of a table that are shown."""
PAIRS = 4
"""Columns shown against each other."""
GRID = 41
"""Points along each side of a surface."""
STEPS = 32
"""Pieces of a walk."""


class Guide:
    """Answers of a run to the questions of its tour, as plain values and arrays.

    Coordinates u are lists of n numbers, conditions theta lists of C numbers in their units, or
    empty.

    Args:
        run: The run.
        data: Where its data are now, if they were moved.

    Raises:
        DataError: If the data are not there any more, or have changed.
    """

    def __init__(self, run: Run, data: str | Path | None = None):
        self.run, self.flow = run, run.flow
        self._seen = run.split(data).held_out.sample(ROWS, run.config.seed)
        found = at_points(self.flow, self._seen[:1], self._seen)  # training is not asked for
        self._points, conditioning = found["held_out"], found.get("conditioning")
        self._numbers = None if conditioning is None else conditioning.numbers
        self.theta = self._seen.condition
        self.codes = self._codes()
        self.images = len(self.flow.shape) > 1
        self.scale = brightness(self._seen.x) if self.images else (0.0, 1.0)
        self._exact = Flow(
            self.flow.chart, self.flow.latent, Auto(), conditions=self.flow.conditions
        )

    def _codes(self) -> np.ndarray:
        """Coordinates of the data, or of draws where they have none, shape (N, n)."""
        try:
            codes = np.asarray(self.flow.encode(self._seen.x, self._seen.condition))
        except Unavailable:
            if self.theta is None or self.flow.latent.cond_shape is None:
                codes = self.flow.latent.sample(jr.key(0), (ROWS,))
            else:
                codes = self.flow.latent.sample(jr.key(0), (), self.flow.own_condition(self.theta))
            codes = np.asarray(codes)
        return codes[np.isfinite(codes).all(axis=1)]

    def facts(self) -> dict[str, Any]:
        """All that the page shows before anything is moved."""
        flow, x = self.flow, self._seen.x
        names = [*self.run.names] or [f"x{i}" for i in range(flow.dim)]
        told: dict[str, Any] = {
            "title": f"{self.run.config.system.title} on {Path(self.run.config.data).name}",
            "images": self.images,
            "shape": flow.shape,
            "names": [] if self.images else names,
            "coordinates": _ranges([f"u{i + 1}" for i in range(flow.latent_dim)], self.codes),
            "theta": [] if self.theta is None else _ranges(self.run.condition_names, self.theta),
            "codes": self.codes,
            "conditions": self.theta,
            "log_prob": self._points.log_prob,
            "distance": self._points.distance,
            "condition_number": self._numbers,
            "moves_with_theta": flow.chart.cond_shape is not None,
        }
        if not self.images:
            columns = np.sort(np.argsort(-x.var(axis=0), kind="stable")[:PAIRS])
            told |= {
                "columns": columns,
                "pairs": x[:, columns],
                "spread": np.quantile(x, SPREAD, axis=0),
            }
        return told

    def prepare(self) -> None:
        """Compile what the first move of a slider asks for."""
        middle = self.facts()
        u, theta = ([each["middle"] for each in middle[name]] for name in ("coordinates", "theta"))
        self.point(u, theta)
        self.density(u, theta)

    # Where the sliders are --------------------------------------------------------------------

    def point(self, u: Numbers, theta: Numbers) -> dict[str, Any]:
        """The decoded point: numbers of a row, or bytes of a picture."""
        return self.shown(self._decoded(u, theta))

    def _decoded(self, u, theta) -> np.ndarray:
        x = at_point(Flow._decode, self.flow, *self._u(u), self._condition(theta))
        return np.asarray(self.flow._in_units(x))

    def _u(self, u) -> tuple[jax.Array, tuple[int, ...]]:
        return jnp.asarray(u, dtype=float), (self.flow.latent_dim,)

    def _condition(self, theta) -> np.ndarray | None:
        return np.asarray(theta, dtype=float) if self.flow.cond_shape else None

    def shown(self, x: np.ndarray) -> dict[str, Any]:
        """One point, or several, as the page draws them."""
        if not self.images:
            return {"x": x}
        cells = x.reshape(-1, *self.flow.shape)
        seen = colours(cells, self.scale)
        return {"picture": seen.reshape(*x.shape[: -len(self.flow.shape)], *seen.shape[1:])}

    def density(self, u: Numbers, theta: Numbers) -> dict[str, Any]:
        """Log-density and condition number there; ``None`` where the system has none."""
        if not self.flow.has_density:
            return {"log_prob": None, "condition_number": None}
        at = self._exact, *self._u(u), self._condition(theta)
        number = None if self._numbers is None else float(at_point(_number_at, *at))
        return {"log_prob": float(at_point(_log_prob_at, *at)), "condition_number": number}

    def plane(self, u: Numbers, theta: Numbers, i: int, j: int, side: int) -> dict[str, Any]:
        """Log-densities over coordinates i and j, shape (side, side), the others as in ``u``."""
        across, up = (self.axis(k, side) for k in (i, j))
        at = np.tile(np.asarray(u, dtype=float), (side, side, 1))
        at[..., i], at[..., j] = across, up[:, None]
        return {"across": across, "up": up, "log_prob": self.log_prob(at, theta)}

    def axis(self, k: int, side: int) -> np.ndarray:
        """Values of a coordinate from one end of its slider to the other, shape (side)."""
        low, high = np.quantile(self.codes[:, k], MIDDLE)
        return np.linspace(low, high, side)

    def log_prob(self, u: np.ndarray, theta: Numbers) -> np.ndarray | None:
        """Log-densities at coordinates (..., n), shape (...)."""
        if not self.flow.has_density:
            return None
        found = over_points(_log_prob_at, self._exact, *self._u(u), self._condition(theta))
        return np.asarray(found)

    def decode(self, u: np.ndarray, theta: Numbers) -> np.ndarray:
        """Points at coordinates (..., n), shape (..., *shape)."""
        return np.asarray(self.flow.decode(u, self._condition(theta)))

    def manifold(self, theta: Numbers) -> dict[str, Any] | None:
        """A curve or surface in two or three dimensions; ``None`` for others."""
        flow = self.flow
        if (flow.shape, flow.latent_dim) not in (((2,), 1), ((3,), 1), ((3,), 2)):
            return None
        axes = [self.axis(k, 300 if flow.latent_dim == 1 else GRID) for k in range(flow.latent_dim)]
        u = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return {"x": self.decode(u, theta), "log_prob": self.log_prob(u, theta)}

    # A user's own points ----------------------------------------------------------------------

    def row(self, text: str, theta: Numbers) -> dict[str, Any]:
        """A row of numbers, after a line with the names of its columns or without one.

        Raises:
            DataError: If it is no row that the run can score.
        """
        if self.images:
            raise DataError(f"Expected a picture for this model, {self.size()}; got text.")
        lines = [line for line in text.strip().splitlines() if line.strip()]
        if not lines:
            raise DataError("Expected a row of numbers; got nothing.")
        first, *_ = lines
        names = [*self.run.names, *self.run.condition_names]
        mark = next((mark for mark in ",;\t" if mark in first), None)
        cells = [[cell.strip() for cell in line.split(mark)] for line in lines[:2]]
        if not all(map(_is_number, cells[0])):
            if len(cells) < 2:
                raise DataError(f"Expected numbers; got {first.strip()[:60]!r}.")
            names, cells = cells[0], cells[1:]
        elif len(cells[0]) == len(self.run.names):
            names = [*self.run.names]
        if len(names) != len(cells[0]):
            raise DataError(
                f"Expected {len(names)} numbers ({', '.join(names[:6])}"
                f"{', ...' if len(names) > 6 else ''}); got {len(cells[0])}."
            )
        given = dict(zip(names, cells[0], strict=True))
        if set(given) & set(self.run.condition_names) == set():
            known = zip(self.run.condition_names, theta, strict=True)
            given |= {name: repr(float(value)) for name, value in known}
        with TemporaryDirectory() as folder:
            table = Path(folder) / "row.csv"
            quoted = ('"' + name.replace('"', '""') + '"' for name in given)
            table.write_text(f"{','.join(quoted)}\n{','.join(given.values())}\n")
            return self._judged(table)

    def picture(self, content: bytes, name: str) -> dict[str, Any]:
        """A picture file, cropped and resized as a folder of them is for this run.

        Raises:
            DataError: If it is no picture that the run can score.
        """
        if not self.images:
            raise DataError(
                f"Expected a row of {self.flow.dim:,} numbers for this model; got a picture."
            )
        with TemporaryDirectory() as folder:
            (Path(folder) / f"picture{Path(name).suffix.lower()}").write_bytes(content)
            return self._judged(Path(folder))

    def size(self) -> str:
        """Shape of a picture, in words."""
        return " x ".join(map(str, self.flow.shape))

    def _judged(self, path: Path) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            data = self.run.load(path)
            self.run.check_reach(path, data)
            x, theta = data.x[0], [] if data.condition is None else data.condition[0]
            given = self.flow.centred(x), self.flow.shape, self._condition(theta)
            u = np.asarray(at_point(Flow._encode, self.flow, *given))
            projected, density = self._decoded(u, theta), self.density(u, theta)
        known = self._points.distance is not None
        return {
            "u": u,
            "theta": theta,
            "given": self.shown(x),
            "projected": self.shown(projected),
            "distance": float(np.linalg.norm(x - projected)) if known else None,
            **density,
            "notes": [str(each.message) for each in said],
        }

    # Walks ------------------------------------------------------------------------------------

    def walk(self, start: Numbers, end: Numbers, theta: Numbers) -> dict[str, Any]:
        """The straight line between coordinates, the geodesic, and the true one where known.

        Each with its points, coordinates, length in the data's units, and log-densities.
        """
        line = np.linspace(np.asarray(start, float), np.asarray(end, float), STEPS + 1)
        walks = {"straight": self._along(line, theta)}
        walks["straight"]["length"] = _length(self.decode(_finer(line), theta))
        manifold, given = without_density(self.flow, self._condition(theta))
        ends = jnp.asarray(line[[0, -1]], dtype=float)
        found = at_point(Search(STEPS), manifold, ends, ends.shape, given)
        walks["geodesic"] = self._along(np.asarray(found.u), theta, found)
        if (truth := self._truth()) is not None:
            known = geodesic(truth, *self.decode(line[[0, -1]], theta), steps=STEPS)
            u = np.asarray(self.flow.encode(known.x, self._condition(theta)))
            seen = self.shown(np.asarray(known.x))
            walks["true geodesic"] = {**self._along(u, theta, known), **seen}
        return walks

    def _along(self, u: np.ndarray, theta: Numbers, found=None) -> dict[str, Any]:
        walk = {**self.shown(self.decode(u, theta)), "u": u, "log_prob": self.log_prob(u, theta)}
        if found is not None:
            walk |= {"length": float(found.length), "converged": bool(found.converged)}
        return walk

    def _truth(self) -> Flow | None:
        """The true manifold, where the run's simulator knows it as a surface of n dimensions."""
        name = self.run.config.simulator
        simulator = None if name is None else simulators.named(name)
        if not isinstance(simulator, HasSurface) or len(self.flow.shape) > 1:
            return None
        z = np.asarray(simulator.unembed(self._seen.x[:1]))
        if z.shape[1] != self.flow.latent_dim:
            return None
        chart = FunctionChart(
            simulator.embed,
            simulator.unembed,
            shape=self.flow.shape,
            latent_dim=self.flow.latent_dim,
        )
        return Flow(chart, StandardNormal((self.flow.latent_dim,)))


def _log_prob_at(flow: Flow, u, condition=None):
    """Log-density of one point by its coordinates."""
    log_volume = flow._decode_and_log_volume(u, condition, None)[1]
    return flow._density(u, condition) - log_volume


def _number_at(flow: Flow, u, condition=None):
    """Condition number there."""
    return condition_number(flow.chart, u, condition)


def _ranges(names: Sequence[str], values: np.ndarray) -> list[Mapping[str, Any]]:
    """Name, ends and middle of every column."""
    low, middle, high = np.quantile(values, [MIDDLE[0], 0.5, MIDDLE[1]], axis=0)
    return [
        {"name": name, "low": a, "middle": b, "high": c if c > a else a + 1}
        for name, a, b, c in zip(names, low.tolist(), middle.tolist(), high.tolist(), strict=True)
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _finer(line: np.ndarray) -> np.ndarray:
    return np.linspace(line[0], line[-1], 8 * STEPS + 1)


def _length(x: np.ndarray) -> float:
    """Of the straight pieces between points (T, *shape)."""
    return float(np.linalg.norm(np.diff(x.reshape(len(x), -1), axis=0), axis=1).sum())
