r"""The Lorenz attractor (Lorenz 1963), as data of Brehmer & Cranmer 2020 (arXiv 2003.13913).

    dx/dt = sigma (y - x),  dy/dt = x (rho - z) - y,  dz/dt = x y - beta z

with sigma = 10, beta = 8/3, rho = 28: 100 trajectories from 1 + 0.1 N(0, I), seen at random times
between 50, when they have come to the attractor, and 1000. The attractor is no manifold: a fractal
of dimension 2.06, two lobes of many sheets so close together that a surface comes near. Its density
is not known. Trajectories are chaotic, so that only their statistics are reproducible to digits.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.distributions import Uniform
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

SIGMA, BETA, RHO = 10.0, 8 / 3, 28.0
MEAN = (-0.6817, -0.5542, 23.7192)
STD = (7.9820, 9.0880, 8.3198)
"""Published mean and standard deviation of the coordinates, for standardising."""
_TOLERANCE = 1e-6


class Lorenz(eqx.Module):
    """Points of the Lorenz attractor in R^3; no parameters, theta has shape (..., 0).

    The points of one call are in random order and share their trajectories, equally often each.

    Args:
        trajectories: Number of trajectories.
        start: Earliest time of a point.
        end: Latest time of a point.
    """

    trajectories: int = eqx.field(static=True, default=100)
    start: float = eqx.field(static=True, default=50.0)
    end: float = eqx.field(static=True, default=1000.0)

    @property
    def prior(self) -> Uniform:
        """The distribution of no parameters, of shape (0,)."""
        return Uniform(jnp.zeros(0), jnp.ones(0))

    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... 3"]:
        """Draw one point for every empty theta; trajectories are followed anew in every call."""
        batch = jnp.shape(theta)[:-1]
        count = max(int(jnp.prod(jnp.array(batch, int))), 1)
        start_key, time_key, order_key = jr.split(key, 3)
        starts = 1 + 0.1 * jr.normal(start_key, (self.trajectories, 3))
        shape = (self.trajectories, -(-count // self.trajectories))
        times = jr.uniform(time_key, shape, minval=self.start, maxval=self.end)
        points = follow(starts, jnp.sort(times, axis=1)).reshape(-1, 3)
        return jr.permutation(order_key, points)[:count].reshape(*batch, 3)


@eqx.filter_jit
def follow(starts: Float[Array, "K 3"], times: Float[Array, "K T"]) -> Float[Array, "K T 3"]:
    """Where trajectories from ``starts`` at time 0 are at ``times``, which increase along T."""
    import diffrax

    def trajectory(start, times):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(velocity),
            diffrax.Tsit5(),
            t0=0.0,
            t1=times[-1],
            dt0=1e-3,
            y0=start,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=_TOLERANCE, atol=_TOLERANCE),
            max_steps=None,
        ).ys

    return jnp.asarray(jax.vmap(trajectory)(starts, times))


def velocity(t: ArrayLike, point: Float[Array, " 3"], args: object = None) -> Float[Array, " 3"]:
    """The right-hand side of the Lorenz equations."""
    x, y, z = point
    return jnp.stack((SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z))
