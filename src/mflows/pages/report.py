"""The report of a run: its folder, its data and its flow, turned into what a report can show."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from mflows import simulators
from mflows.data import Data
from mflows.data.checks import SHOWN
from mflows.pages import pictures
from mflows.pages.content import Content, Manifold, View
from mflows.pages.page import write
from mflows.runs import Run
from mflows.runs.source import parts_of
from mflows.simulators import HasLogProb, HasSurface, Simulator
from mflows.verdict import Conditioning, Points, at_points

POINTS = 5000
"""Rows scored of each part of the data, and samples drawn."""

GRID, STEPS = 90, 400
MIDDLE = (0.002, 0.998)
"""Quantiles of the latent coordinates between which the manifold is drawn."""


def write_report(run: Run, *, data: str | Path | None = None) -> Path:
    """Write ``report.html`` into the run folder and return its path.

    Args:
        run: The run.
        data: Where its data file is now, if it was moved.

    Raises:
        DataError: If the data are not there any more, or have changed.
    """
    return write(run.folder / "report.html", content(run, data=data))


def content(run: Run, *, data: str | Path | None = None) -> Content:
    """Everything that the report of a run shows; arguments as for ``write_report``."""
    flow, tabular = run.flow, len(run.flow.shape) == 1
    learned = not flow.is_ambient
    whole = run.data(data) if learned and not tabular else None
    kept, held_out = run.split(data) if whole is None else parts_of(run.config, whole)
    train, test = (part.sample(POINTS, run.config.seed) for part in (kept, held_out))
    judged = at_points(flow, train, test)
    samples = flow.sample(
        jr.key(run.config.seed),
        () if test.condition is not None else (len(test),),
        None if test.condition is None else jnp.asarray(test.condition, dtype=float),
    )
    name = Path(run.config.data).name
    latent = np.asarray(flow.encode(test.x, test.condition)) if learned else None
    shown = {}
    if whole is not None and latent is not None:
        rows = whole.held_out_rows(run.config.validation_fraction, run.config.seed)
        rows = rows[held_out.random_rows(POINTS, run.config.seed)]
        shown = _pictures(run, test, latent, judged["held_out"].distance, rows)
    return Content(
        title=f"{run.config.system.title} on {name}",
        lead=_lead(run, len(kept)),
        summary=_summary(
            run, judged["held_out"], judged.get("conditioning"), len(kept), len(held_out)
        ),
        settings=_settings(run),
        provenance=_provenance(run),
        history=run.history,
        notes=run.provenance.get("notes", ()),
        rows=round(kept.effective_size),
        latent_dim=flow.latent_dim if learned else None,
        **judged,
        samples=np.asarray(samples),
        conditional=test.condition is not None,
        **shown,
        latent=latent,
        names=run.names if tabular else (),
        views=list(_views(run, test)) if learned and flow.has_density else (),
    )


def _pictures(
    run: Run, test: Data, latent: np.ndarray, distance: np.ndarray, rows: np.ndarray
) -> dict[str, Any]:
    """What the flow makes of images, which are these rows of the data."""
    condition, label = next(_conditions(run, test))
    projected, worst = pictures.projections(run.flow, test, distance, rows)
    decoded = pictures.decoded(run.flow, latent, condition, label)
    return {"projected": projected, "worst": worst, "decoded": decoded}


def _lead(run: Run, points: int) -> str:
    dim, latent_dim = run.flow.dim, run.flow.latent_dim
    given = f", given {_some(run.condition_names)}" if run.flow.cond_shape else ""
    if latent_dim == dim:
        return f"A density on all {dim} dimensions{given}, learned from {points:,} points."
    return (
        f"A {latent_dim}-dimensional manifold in {dim} dimensions and the density on it{given}, "
        f"learned from {points:,} points."
    )


def _summary(
    run: Run, held_out: Points, conditioning: Conditioning | None, train: int, test: int
) -> dict[str, str]:
    dim, latent_dim = run.flow.dim, run.flow.latent_dim
    found = {}
    if held_out.log_prob is not None:
        found["held-out mean log_prob"] = f"{np.mean(held_out.log_prob):.4g} nats"
    if held_out.distance is not None:
        found["held-out mean distance"] = f"{np.mean(held_out.distance):.3g}"
    if conditioning is not None:
        doubtful = conditioning.doubtful
        found["ill-conditioned held-out points"] = f"{doubtful.sum():,} of {len(doubtful):,}"
    numbers = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(run.flow, eqx.is_inexact_array)))
    ambient = f"D\u00a0=\u00a0{dim}"  # what belongs together stays on one line
    return found | {
        "dimension": f"n = {latent_dim} in {ambient}" if latent_dim < dim else ambient,
        "points": f"{train:,} + {test:,} held out",
        "parameters": f"{numbers:,}",
        "training": f"{sum(row['seconds'] for row in run.history):.1f} s",
    }


def _settings(run: Run) -> dict[str, str]:
    config = run.config
    extra = {name.replace("_", " "): str(value) for name, value in config.settings.items()}
    return {
        "model": config.model,
        "recipe": str(config.recipe),
        "condition": _some(run.condition_names) or "none",
        "epochs": str(config.epochs),
        "batch size": str(config.batch_size),
        "learning rate": f"{config.learning_rate:g}, cosine to 0",
        "held out": f"{config.validation_fraction:.0%}",
        **extra,
    }


def _provenance(run: Run) -> dict[str, str]:
    known = run.provenance
    machine = known.get("machine", {})
    return {
        "mflows": f"{known.get('mflows')}, commit {known.get('commit') or 'unknown'}",
        "command": str(known.get("command")),
        "data": f"{run.config.data}, sha256 {run.source.sha256[:12]}",
        "seed": str(run.config.seed),
        "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
        "started": str(known.get("started")),
        "ended": f"{known.get('ended')}, {known.get('status')}",
    }


def _some(names: Sequence[str]) -> str:
    """Names in a row, the first ones of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _views(run: Run, data: Data) -> Iterator[View]:
    """The learned manifold for some conditions, if it is a curve or surface that can be drawn."""
    if (run.flow.shape, run.flow.latent_dim) not in (((2,), 1), ((3,), 1), ((3,), 2)):
        return
    u = np.asarray(run.flow.encode(data.x, data.condition))
    for condition, label in _conditions(run, data):
        x = run.flow.decode(_grid(u), condition)
        model = Manifold(np.asarray(x), np.asarray(run.flow.log_prob(x, condition)))
        yield View(model, _truth(run, data, condition), label)


def _conditions(run: Run, data: Data) -> Iterator[tuple[np.ndarray | None, str]]:
    """The middle condition; of a single one, the extremes too."""
    if data.condition is None:
        yield None, ""
        return
    quantiles = (0.5, 0.02, 0.98) if data.condition.shape[1] == 1 else (0.5,)
    for row in np.quantile(data.condition, quantiles, axis=0):
        values = zip(run.condition_names, row, strict=True)
        yield row, ", ".join(f"{name} = {value:.2g}" for name, value in values)


def _grid(u: np.ndarray) -> np.ndarray:
    """A grid over points (N, n), shape (STEPS, 1) or (GRID, GRID, 2)."""
    steps = STEPS if u.shape[1] == 1 else GRID
    axes = [np.linspace(low, high, steps) for low, high in np.quantile(u, MIDDLE, axis=0).T]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _truth(run: Run, data: Data, condition) -> Manifold | None:
    """The true manifold above the middle of the data, where their simulator can tell it."""
    if run.config.simulator is None:
        return None
    simulator = simulators.named(run.config.simulator)
    theta = np.zeros(0) if condition is None else condition
    if not (isinstance(simulator, HasSurface) and isinstance(simulator, HasLogProb)):
        return None
    if not isinstance(simulator, Simulator) or theta.shape != simulator.prior.shape:
        return None
    z = np.asarray(simulator.unembed(data.x))
    if z.shape[1] != run.flow.latent_dim:
        return None
    x = simulator.embed(_grid(z))
    return Manifold(np.asarray(x), np.asarray(simulator.log_prob(x, theta)))
