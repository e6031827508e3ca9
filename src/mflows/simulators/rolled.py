r"""Shapes that are a graph over no plane: what makes manifold learning fail.

Each is one sheet, bent until its projections overlap: x = g(z), with z uniform on a box of volume V
and no noise, so that the reconstruction error of a learned manifold has no floor. The density with
respect to the area of the sheet is exactly

    log p(x) = -log V - 1/2 log det(J^T J),    J = dg/dz.

* swiss roll, n = 2 in D = 3:  (t cos t, h, t sin t),  t in [3 pi/2, 9 pi/2],  h in [0, 21]
* S-curve, n = 2 in D = 6:  (sin t, sgn(t) (cos t - 1), h) with t in [-9 pi/5, 9 pi/5] and h in
  [-1, 1], each arc 9/10 of a circle, so nearly closed; three smooth extra coordinates; a fixed
  rotation of R^6
* spiral, n = 1 in D = 2:  (t cos t, t sin t),  t in [pi/2, 9 pi/2]: two turns

The z nearest to a point is found by Newton's method within the box, from the nearest point of a
grid.
"""

from abc import abstractmethod
from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import Uniform
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mflows.simulators.simulator import points

NO_THETA = np.zeros(0)
NODES = 512, 24
"""Grid points along t and across it."""
STEPS = 20
CHUNK = 256
"""Points that are compared with the grid at a time."""

_points = partial(points, simulator="this shape")


class RolledShape(eqx.Module):
    """A bent sheet, uniform in its coordinates z; a simulator without parameters.

    Methods broadcast over leading axes: ``theta`` has shape (..., 0), ``z`` shape (..., n), ``x``
    shape (..., D). A wrong last axis raises ``ValueError``.
    """

    low: ClassVar[tuple[float, ...]]
    high: ClassVar[tuple[float, ...]]
    dim: ClassVar[int]

    @property
    def latent_dim(self) -> int:
        """Dimension n of the sheet."""
        return len(self.low)

    @property
    def prior(self) -> Uniform:
        """The distribution of no parameters, of shape (0,)."""
        return Uniform(jnp.zeros(0), jnp.ones(0))

    @abstractmethod
    def draw(self, key: PRNGKeyArray, count: int) -> Float[Array, "count D"]:
        """Draw ``count`` points of the sheet."""

    @abstractmethod
    def embed(self, z: ArrayLike) -> Float[Array, "... D"]:
        """The point of the sheet at the coordinates ``z``."""

    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... D"]:
        """Draw one point for every empty theta."""
        batch = _points("theta", theta, 0).shape[:-1]
        return self.draw(key, int(np.prod(batch))).reshape(*batch, self.dim)

    def unembed(self, x: ArrayLike) -> Float[Array, "... n"]:
        """The z of the point of the sheet nearest to ``x``."""
        x = _points("x", x, self.dim)
        return _nearest(self, x.reshape(-1, self.dim)).reshape(*x.shape[:-1], self.latent_dim)

    def log_prob(self, x: ArrayLike, theta: ArrayLike = NO_THETA) -> Float[Array, "..."]:
        """Exact log density with respect to area, at the point of the sheet nearest to ``x``."""
        _points("theta", theta, 0)
        volume = np.prod(np.subtract(self.high, self.low))
        log_area = jnp.vectorize(self._log_area, signature="(n)->()")(self.unembed(x))
        return -np.log(volume) - log_area

    def distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Distance to the nearest point of the sheet."""
        return jnp.linalg.norm(jnp.asarray(x) - self.embed(self.unembed(x)), axis=-1)

    def _log_area(self, z: Float[Array, " n"]) -> Float[Array, ""]:
        jacobian = jax.jacfwd(self.embed)(z)
        return jnp.linalg.slogdet(jnp.matmul(jacobian.T, jacobian, precision="highest"))[1] / 2


class SwissRoll(RolledShape):
    """The swiss roll in R^3; z = (t, h)."""

    low = (1.5 * np.pi, 0.0)
    high = (4.5 * np.pi, 21.0)
    dim = 3

    def draw(self, key, count):
        turn, height = jr.uniform(key, (2, count))
        return self.embed(jnp.stack((1.5 * jnp.pi * (1 + 2 * turn), 21 * height), axis=-1))

    def embed(self, z):
        t, h = jnp.moveaxis(_points("z", z, 2), -1, 0)
        return jnp.stack((t * jnp.cos(t), h, t * jnp.sin(t)), axis=-1)


class SCurve(RolledShape):
    """The nearly closed S-curve in R^6; z = (t, h)."""

    low = (-1.8 * np.pi, -1.0)
    high = (1.8 * np.pi, 1.0)
    dim = 6

    def draw(self, key, count):
        along, height = jr.uniform(key, (2, count), minval=-1.0)
        return self.embed(jnp.stack((9 / 5 * jnp.pi * along, height), axis=-1))

    def embed(self, z):
        t, h = jnp.moveaxis(_points("z", z, 2), -1, 0)
        bent = (jnp.sin(t), jnp.sign(t) * (jnp.cos(t) - 1), h)
        smooth = (
            0.3 * jnp.sin(0.7 * t + h),
            0.3 * jnp.cos(1.5 * h),
            0.3 * jnp.sin(0.5 * t) * h,
        )
        rotation, _ = jnp.linalg.qr(jr.normal(jr.key(6), (6, 6)))
        return jnp.stack(bent + smooth, axis=-1) @ rotation


class Spiral(RolledShape):
    """The spiral with two turns in R^2; z = (t,)."""

    low = (0.5 * np.pi,)
    high = (4.5 * np.pi,)
    dim = 2

    def draw(self, key, count):
        return self.embed(jnp.pi * (0.5 + 4 * jr.uniform(key, (count, 1))))

    def embed(self, z):
        (t,) = jnp.moveaxis(_points("z", z, 1), -1, 0)
        return jnp.stack((t * jnp.cos(t), t * jnp.sin(t)), axis=-1)


@eqx.filter_jit
def _nearest(shape: RolledShape, x: Float[Array, "count D"]) -> Float[Array, "count n"]:
    low, high = jnp.array(shape.low), jnp.array(shape.high)
    axes = [jnp.linspace(*ends) for ends in zip(low, high, NODES, strict=False)]
    grid = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    on_grid = shape.embed(grid)

    def solve(point):
        def loss(z):
            return jnp.sum((shape.embed(z) - point) ** 2) / 2

        def step(carry, _):
            z, damping = carry
            gradient, hessian = jax.grad(loss)(z), jax.hessian(loss)(z)
            free = ~((z <= low) & (gradient > 0) | (z >= high) & (gradient < 0))
            hessian = jnp.where(free[:, None] & free, hessian, jnp.eye(len(z)))
            mu = damping + jnp.maximum(-2 * jnp.linalg.eigvalsh(hessian)[0], 0)
            by = jnp.linalg.solve(hessian + mu * jnp.eye(len(z)), gradient * free)
            moved = jnp.clip(z - by, low, high)
            better = loss(moved) < loss(z)
            return (jnp.where(better, moved, z), damping * jnp.where(better, 0.1, 4.0)), None

        start = grid[jnp.argmin(jnp.sum((on_grid - point) ** 2, axis=-1))]
        return jax.lax.scan(step, (start, jnp.array(1e-3)), None, length=STEPS)[0][0]

    return jax.lax.map(solve, x, batch_size=CHUNK)
