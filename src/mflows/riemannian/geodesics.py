r"""Geodesics of a learned manifold: the shortest curves on it between two points.

The decoder g gives the coordinates u the metric G(u) = J^T J of the space that the manifold lies in
(Shao, Kumar & Fletcher 2018, arXiv 1711.08014; Arvanitidis, Hansen & Hauberg 2018, arXiv
1710.11379). Of the curves u_0 = e(a), ..., u_T = e(b) a geodesic has the least energy,

    E(u_1, ..., u_(T-1)) = T sum_t w_t |g(u_(t+1)) - g(u_t)|^2.

With w_t = 1 that is the shortest curve, in T steps of one length. With w_t = (p / p_ends)^-k, where
p is the model's density in the middle of a step, steps cost more where data are rare.

L-BFGS minimises E in coordinates v in which E is nearly |v|^2,

    u = u_now + L^-T v,    L L^T = H = sum_t 2 T w_t B_t^T B_t / E,
    B_t du = Q_t^T (J_(t+1) du_(t+1) - J_t du_t),

with Q_t an orthonormal basis of the tangents in the middle of step t. H is the Hessian of log E but
for the curvature of the manifold, and block-tridiagonal: its Cholesky factor takes O(T n^3). H is
renewed at every round. A curve has converged when |dE/dv| / E is small: that does not depend on
coordinates or units, and half of its square is what E could still lose, relative to E.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from flowjax.distributions import StandardNormal
from jax.lax import scan, while_loop
from jaxtyping import Array, ArrayLike, Bool, Float

from mflows.batches import over_points
from mflows.flow import Flow
from mflows.layers.placement import unit_of

STEPS = 32
ROUNDS = 32
SEARCH = 4
"""Steps of L-BFGS in a round."""
TOLERANCE = 1e-3
"""Of |dE/dv| / E at convergence; 2e-3 in single precision, which resolves no less."""
AT_REST = 1e-2
"""The same where E falls no further in the precision that there is."""
FINER = 4
"""Decoded points per step of the curve that shows jumps."""
JUMP = 1.05
"""Length of that curve over the length found, from which on it jumps."""
RAREST = 30.0
"""Largest |log w|, in nats."""


class Geodesic(NamedTuple):
    """Shortest curves, for a batch of pairs of points.

    Args:
        x: Points along the curve in the data's units, its ends included, (..., T + 1, *shape).
        u: Their coordinates, shape (..., T + 1, n). Angles may exceed [-pi, pi).
        length: Of the decoded curve, in the data's units, shape (...).
        converged: Whether the search found a minimum, and a curve without jumps, shape (...).
    """

    x: Array | np.ndarray
    u: Float[Array, "... T n"]
    length: Float[Array, "..."]
    converged: Bool[Array, "..."]


class Curve(NamedTuple):
    """Coordinates of a curve, (T + 1, n), its length in the data's units, and success."""

    u: Array
    length: Array
    converged: Array


def geodesic(
    flow: Flow,
    a: ArrayLike,
    b: ArrayLike,
    condition: ArrayLike | None = None,
    *,
    steps: int = STEPS,
    density: float = 0.0,
    rounds: int = ROUNDS,
) -> Geodesic:
    """The shortest curve on the manifold between the projections of two points.

    The search starts at the straight line between the coordinates, the shorter way round for
    angles. It is local: where several geodesics join two points it finds one near that line.

    Args:
        flow: Any flow with a decoder and an encoder.
        a: Points at one end, in the data's units, shape (..., *shape).
        b: Points at the other end. Shapes broadcast.
        condition: Conditions of shape (..., *cond_shape), if the flow has them.
        steps: Number T of steps along the curve, even.
        density: The power k above, how much more steps cost where the density is low; 0 for the
            geometry alone. ``length`` remains that of the decoded curve.
        rounds: Rounds of the search at most. Curves that need more are not ``converged``.

    Raises:
        ValueError: For points of a wrong shape or not finite, a condition that is missing, steps
            that are odd, or ``density`` < 0.
        mflows.charts.Unavailable: For flows without an encoder, or without a density where
            ``density`` asks for one.
    """
    search = Search(steps, density, rounds)
    if not density:
        flow, condition = without_density(flow, condition)
    ends = jnp.broadcast_arrays(*(flow.encode(x, condition) for x in (a, b)))
    curve = over_pairs(search, flow, jnp.stack(ends, axis=-2), condition)
    along = None if condition is None else _for_nodes(condition, flow)
    return Geodesic(flow.decode(curve.u, along), *curve)


def without_density(flow: Flow, condition: Any) -> tuple[Flow, Any]:
    """The manifold alone, which asks for no condition if only the density depends on one."""
    given = flow.chart.cond_shape is not None
    plain = StandardNormal((flow.latent_dim,))
    bare = Flow(flow.chart, plain, conditions=flow.conditions if given else None)
    return bare, condition if given else None


def over_pairs(search: Callable, flow: Flow, ends: Float[ArrayLike, "... 2 n"], condition=None):
    """A search, or what is made of it, for pairs of coordinates."""
    shape = (2, flow.latent_dim)
    return over_points(search, flow, jnp.asarray(ends), shape, condition, inner=STEPS)


def _for_nodes(condition: ArrayLike, flow: Flow) -> np.ndarray:
    """Conditions that broadcast against the nodes of curves."""
    condition = np.asarray(condition)
    return np.expand_dims(condition, condition.ndim - len(flow.cond_shape or ()))


class Factor(NamedTuple):
    """Inverse Cholesky factor of a block-tridiagonal matrix of T - 1 blocks of size n.

    Args:
        inverse: Inverses of the diagonal blocks of L, shape (T - 1, n, n).
        below: Blocks L_(t, t-1); the first is 0.
        scale: Unit of every coordinate, shape (n,).
    """

    inverse: Array
    below: Array
    scale: Array

    def step(self, v: Float[Array, "T n"]) -> Float[Array, "T n"]:
        """L^-T v."""

        def solve(after, each):
            inverse, below, v = each
            found = inverse.T @ (v - after)
            return below.T @ found, found

        rows = self.inverse, self.below, v
        return scan(solve, jnp.zeros_like(v[0]), rows, reverse=True)[1] / self.scale


class Start(NamedTuple):
    """A curve u, its energy, the factor of H there, (|dE/dv| / E)^2, and whether it converged."""

    u: Array
    energy: Array
    factor: Factor
    slope: Array
    found: Array

    def moved(self, v: Float[Array, "T n"]) -> Float[Array, "T n"]:
        """The nodes of the curve at v."""
        return self.u.at[1:-1].add(self.factor.step(v))


@dataclass(frozen=True)  # so that calls of equal settings share a compiled program
class Search:
    """The search for one curve; the arguments are those of ``geodesic``."""

    steps: int = STEPS
    density: float = 0.0
    rounds: int = ROUNDS
    tolerance: float = TOLERANCE

    def __post_init__(self):
        if self.steps < 2 or self.steps % 2:
            raise ValueError(f"Expected steps >= 2, an even number; got {self.steps}.")
        if not 0 <= self.density < np.inf:
            raise ValueError(f"Expected density >= 0, a power; got {self.density}.")
        if self.rounds < 1:
            raise ValueError(f"Expected rounds >= 1; got {self.rounds}.")

    def __call__(self, flow: Flow, ends: Float[Array, "2 n"], condition=None) -> Curve:
        """The geodesic between two coordinates; conditions are those of the flow's own."""
        steps, density = self.steps, self.density
        chart, unit, n = flow.chart, unit_of(flow.chart), flow.latent_dim
        tiny, eps = float(jnp.finfo(ends.dtype).tiny) ** 0.5, float(jnp.finfo(ends.dtype).eps)

        def decoded(u):
            return jax.vmap(lambda u: chart.decode(u, condition).ravel() / unit)(u)

        def tangents(u):
            x, frame = chart.pushforward(u, jnp.eye(n, dtype=u.dtype), condition)
            return x.ravel() / unit, frame.reshape(n, -1) / unit

        def log_density(u):
            volume = flow.volume.decode_and_log_volume(chart, u, condition, None)[1]
            return flow.latent_log_prob(u, condition) - volume

        def weights(u):
            if not density:
                return jnp.ones(steps, u.dtype)
            middle = jax.vmap(log_density)((u[1:] + u[:-1]) / 2)
            rare = jax.vmap(log_density)(u[::steps]).mean() - middle
            return jnp.exp(jnp.clip(density * rare, -RAREST, RAREST))

        def relative(v, curve: Start):
            """The energy, relative to that of the curve from which v leads away."""
            u = curve.moved(v)
            pieces = jnp.square(jnp.diff(decoded(u), axis=0)).sum(1)
            return steps * (weights(u) * pieces).sum() / curve.energy

        def start(u) -> Start:
            x, frames = jax.vmap(tangents)(u)
            pieces, (weight, pulled) = jnp.diff(x, axis=0), jax.vjp(weights, u)
            squares = jnp.square(pieces).sum(1)
            size = eps * jnp.abs(x).max()
            energy = jnp.maximum(steps * (weight * squares).sum(), size**2 + tiny)
            factor = _factor(frames, 2 * steps * weight / energy, eps**0.5)
            pull = jnp.diff(weight[:, None] * pieces, axis=0)  # of the pieces at both sides
            slope = -2 * steps * jnp.einsum("tnd,td->tn", frames[1:-1], pull)
            slope += steps * pulled(squares)[0][1:-1]
            (slope,) = jax.vjp(factor.step, jnp.zeros_like(slope))[1](slope / energy)
            rounding = 4 * steps**2 * n * (4 * size) ** 2 / energy
            enough = jnp.clip(rounding, max(self.tolerance**2, 32 * eps), TOLERANCE)
            square = jnp.square(slope).sum()
            found = (square <= enough) | (u == u[0]).all()
            return Start(u, energy, factor, square, found)

        def unfinished(state):
            curve, count, better = state
            return ~curve.found & (count < self.rounds) & better

        def improved(state):
            curve, count, _ = state
            solver, still = (
                optx.LBFGS(self.tolerance, self.tolerance),
                jnp.zeros_like(curve.u[1:-1]),
            )
            search = optx.minimise(relative, solver, still, curve, max_steps=SEARCH, throw=False)
            new = start(curve.moved(search.value))
            better = new.energy < curve.energy
            return jax.tree.map(partial(jnp.where, better), new, curve), count + 1, better

        ends = ends.at[1].set(_shorter_way(decoded, ends))
        state = start(_straight(decoded, ends, steps)), jnp.zeros((), int), jnp.array(True)
        curve, _, better = while_loop(unfinished, improved, state)
        found = curve.found | (~better & (curve.slope <= AT_REST**2))
        x = decoded(_finer(curve.u))
        nodes = x[::FINER]
        length = (4 * _polygon(nodes) - _polygon(nodes[::2])) / 3  # error of fourth order
        rounding = 4 * len(x) * eps * jnp.abs(x).max()  # of points that are one
        smooth = _polygon(x) <= JUMP * length + rounding
        return Curve(curve.u, unit * length, found & smooth)


def _factor(frames: Float[Array, "T n D"], weight: Float[Array, " T"], floor: float) -> Factor:
    """The factor of H for the frames at all nodes and the weights of all steps."""
    n = frames.shape[1]
    scale = jnp.sqrt(jnp.square(frames).sum(2).mean(0))
    scale = jnp.where(scale > 0, scale, 1.0)
    rows, one = frames / scale[:, None], floor * jnp.eye(n, dtype=frames.dtype)
    gram = jnp.einsum("tid,tjd->tij", rows, rows)
    cross = jnp.einsum("tid,tjd->tij", rows[:-1], rows[1:])
    turned = jnp.swapaxes(cross, 1, 2)
    middle = (gram[:-1] + cross + turned + gram[1:]) / 4 + one
    root = jnp.linalg.cholesky(middle)
    before, after = (
        jax.scipy.linalg.solve_triangular(root, part / 2, lower=True)
        for part in (gram[:-1] + turned, cross + gram[1:])
    )

    def product(left, right, weight):
        return jnp.einsum("t,tki,tkj->tij", weight, left, right)

    diagonal = product(after[:-1], after[:-1], weight[:-1])
    diagonal += product(before[1:], before[1:], weight[1:]) + one * weight.mean()
    beside = -product(before[1:-1], after[1:-1], weight[1:-1])

    def eliminate(inverse, each):
        diagonal, beside = each
        below = beside.T @ inverse.T
        root = jnp.linalg.cholesky(diagonal - below @ below.T)
        inverse = jax.scipy.linalg.solve_triangular(root, jnp.eye(n, dtype=root.dtype), lower=True)
        return inverse, (inverse, below)

    beside = jnp.concatenate([jnp.zeros_like(diagonal[:1]), beside])
    inverse, below = scan(eliminate, jnp.eye(n, dtype=frames.dtype), (diagonal, beside))[1]
    return Factor(inverse, below, scale)


def _shorter_way(decoded, ends):
    """The second end, moved by full turns in the coordinates that are angles."""
    n = ends.shape[1]
    turned = decoded(ends[1] + 2 * jnp.pi * jnp.eye(n, dtype=ends.dtype))
    angle = jnp.abs(turned - decoded(ends[1:])).max(axis=1) < 1e-4
    turns = jnp.round((ends[1] - ends[0]) / (2 * jnp.pi))
    return ends[1] - jnp.where(angle, 2 * jnp.pi * turns, 0.0)


def _straight(decoded, ends, steps: int):
    """Nodes along the straight line between coordinates, in steps of one length once decoded.

    From nodes that are even in u the first moves could be so large that they lead to another sheet.
    """
    line = jnp.linspace(ends[0], ends[1], FINER * steps + 1)
    pieces = jnp.linalg.norm(jnp.diff(decoded(line), axis=0), axis=1)
    total = jnp.cumsum(pieces + jnp.finfo(pieces.dtype).tiny)
    along = jnp.concatenate([jnp.zeros_like(total[:1]), total / total[-1]])
    share = jnp.interp(jnp.linspace(0, 1, steps + 1), along, jnp.linspace(0, 1, len(line)))
    u = ends[0] + share[:, None] * (ends[1] - ends[0])
    return u.at[-1].set(ends[1])


def _polygon(x):
    """The length of straight pieces between points (T, D)."""
    return jnp.linalg.norm(jnp.diff(x, axis=0), axis=1).sum()


def _finer(u):
    """Nodes with ``FINER`` - 1 others between each two of them."""
    share = jnp.arange(FINER)[:, None] / FINER
    between = u[:-1, None] + share * (u[1:] - u[:-1])[:, None]
    return jnp.concatenate([between.reshape(-1, u.shape[1]), u[-1:]])
