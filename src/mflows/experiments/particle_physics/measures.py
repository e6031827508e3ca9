"""How well a system knows the events: closure, reconstruction, information, and time."""

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Float
from paramax import unwrap

from mflows.experiments.driver import Row
from mflows.experiments.particle_physics.posteriors import TEST_SEED
from mflows.flow import Flow
from mflows.latents import Thickened
from mflows.models import on_manifold
from mflows.simulators.physics.features import CONSTRAINED, NAMES, violations
from mflows.simulators.physics.matrix_element import COUPLINGS
from mflows.simulators.physics.pool import Pool

TEST, QUICK_TEST, SCORED = 10_000, 200, 2_000
GROUPS = {
    "pT": slice(0, 6),
    "eta": slice(6, 12),
    "shell": slice(12, 16),
    "sum": slice(16, 24),
    "delta": slice(24, 26),
}
"""Constraints of each group."""
CLIP = 10.0


def numbers(flow: Flow, test: Pool, *, quick: bool) -> Row:
    """Closure, reconstruction, information, and the time that likelihoods take."""
    key, zero = jr.key(TEST_SEED), jnp.zeros(2)
    points, scale = test.x[_standard_model(test)], test.x.std(axis=0)
    samples = np.asarray(flow.sample(key, (QUICK_TEST if quick else TEST,), zero))
    broken = closure(samples, scale)
    found = {"closure": float(broken.mean())}
    found |= {f"closure_{name}": float(broken[at].mean()) for name, at in GROUPS.items()}
    sheet = on_manifold(flow) if isinstance(flow.latent, Thickened) else flow
    if not sheet.is_ambient:
        found["reconstruction"] = float(off_the_sheet(sheet, points, scale, zero).mean())
    found["log_prob"] = float(np.asarray(flow.log_prob(points, zero)).mean())
    started = time.perf_counter()
    np.asarray(flow.log_prob(points, zero))  # compiled before
    found["seconds_of_100k_likelihoods"] = (time.perf_counter() - started) * 1e5 / len(points)
    return found | information(flow, test)


@eqx.filter_jit
def _scores(model: Any, x: jax.Array) -> jax.Array:
    """grad_theta log p(x | theta) of events (N, 40) at theta = 0."""
    log_prob = unwrap(model)._log_prob if isinstance(model, Flow) else model.log_prob
    return jax.lax.map(lambda each: jax.grad(log_prob, 1)(each, jnp.zeros(2)), x, batch_size=100)


def information(model: Any, test: Pool) -> Row:
    """What the score of the model at theta = 0 tells of theta, and the joint score.

    The events are the same for every model.
    """
    test = test.at(_standard_model(test)[:SCORED])
    x = model.centred(test.x) if isinstance(model, Flow) else jnp.asarray(test.x, dtype=float)
    own = model.around(np.zeros(40)) if isinstance(model, Flow) else model
    score, joint = np.asarray(_scores(own, x)), test.joint_score(np.zeros(2))
    told = np.square((score * joint).mean(axis=0)) / np.square(score).mean(axis=0)
    most = np.square(joint).mean(axis=0)
    return {
        f"{what}_{name}": float(values[i])
        for what, values in (("information", told), ("joint_information", most))
        for i, name in enumerate(COUPLINGS[:2])
    }


def _standard_model(test: Pool) -> np.ndarray:
    """Rows of test events at theta = 0."""
    return test.draw(jr.key(TEST_SEED), np.zeros(2), min(TEST, len(test)))


def off_the_sheet(
    flow: Flow, x: np.ndarray, scale: np.ndarray, theta: Any = None
) -> Float[np.ndarray, " N"]:
    """Distances of events (N, 40) to their projections, with features in units of ``scale``."""
    return np.linalg.norm((x - np.asarray(flow.project(x, theta))) / scale, axis=1)


def closure(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean violation of each of the 26 constraints by events (N, 40), as published."""
    of = dict(zip(NAMES, scale, strict=True))
    return np.minimum(violations(x) / [of[name] for name in CONSTRAINED], CLIP).mean(axis=0)
