r"""A polynomial surface in R^3 with a known density (Brehmer & Cranmer 2020, arXiv 2003.13913).

    z ~ 0.6 N((1, -1), 2^2 I) + 0.4 N((-1, 1), s^2 I),    s = 0.6 + 0.4 theta,   theta ~ U(-1, 1)
    f(z) = poly5(z) exp(-0.1 |z|^2),    x = R (z_0, z_1, f(z))

R is a rotation, so the surface is a graph over a tilted plane and its density with respect to
area is exactly

    log p(x | theta) = log p(z | theta) - 1/2 log(1 + |grad f(z)|^2).

The surface itself does not depend on theta. With w = exp(-0.02 |z|^2) the height is the
homogeneous polynomial  sum_ij c_ij (w z_0)^i (w z_1)^j w^(5-i-j),  which cannot overflow.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from flowjax.distributions import Uniform
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from mflows.simulators.nearest import nearest_on_graph
from mflows.simulators.simulator import Scored, points

DEGREE = 5
# In the order 1, z0, z1, z0^2, z0 z1, z1^2, ... of scikit-learn's PolynomialFeatures.
INDEX = {(d - j, j): d * (d + 1) // 2 + j for d in range(DEGREE + 1) for j in range(d + 1)}
# fmt: off
COEFFICIENTS = (
    -1.2168586603515, 1.5222185058080, -1.2137184774524, 0.0565082877925, -0.0238915801177,
    -0.0466790086350, -0.0556848662447, -0.0076749463583, -0.0571792899188, -0.0516948423201,
    0.0137135697661, 0.0001957832102, -0.0070856847415, -0.0066261159038, 0.0033305025719,
    -0.0083231939924, -0.0109518626457, 0.0040810678602, -0.0046477796818, -0.0088060082049,
    0.0121157043797,
)
# fmt: on
ROTATION = (
    (0.9738872159, -0.2268605674, -0.0088302698),
    (0.2270319382, 0.9730738939, 0.0397956792),
    (-0.0004355654, -0.0407612565, 0.9991688197),
)
WEIGHTS = (0.6, 0.4)
MEANS = ((1.0, -1.0), (-1.0, 1.0))
WIDE = 2.0  # standard deviation of the first component; theta sets that of the second
NOISE = 0.1  # standard deviation of the off-manifold noise
CHUNK = 1024  # points per nearest-point solve: bounds memory and the number of shapes compiled


class OutOfDistribution(NamedTuple):
    """Points on the manifold and the same points moved off it, each of shape (n, 3)."""

    on_manifold: Float[Array, "n 3"]
    off_manifold: Float[Array, "n 3"]


_rotated = partial(jnp.matmul, precision="highest")  # accelerators round inputs by default
_points = partial(points, simulator="the polynomial surface")


class PolynomialSurface(eqx.Module):
    """The polynomial surface: a simulator with exact density and distance.

    Every method broadcasts over leading axes: ``theta`` has shape (..., 1), latent ``z`` shape
    (..., 2), ``x`` shape (..., 3). A wrong last axis raises ``ValueError``. ``theta`` is meant to
    be within [-1, 1]; the width of the second component is positive for theta > -1.5 only, and
    densities are NaN below.

    Attributes:
        coefficients: The 21 coefficients of the polynomial, in PolynomialFeatures order.
        rotation: The rotation R, shape (3, 3).
    """

    coefficients: Float[Array, " 21"] = eqx.field(default_factory=lambda: jnp.array(COEFFICIENTS))
    rotation: Float[Array, "3 3"] = eqx.field(default_factory=lambda: jnp.array(ROTATION))

    @property
    def prior(self) -> Uniform:
        """Theta is uniform on [-1, 1], shape (1,)."""
        return Uniform(-jnp.ones(1), jnp.ones(1))

    @eqx.filter_jit
    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... 3"]:
        """Draw one point on the surface for every theta."""
        return self.simulate_with_joint_score(key, theta).x

    @eqx.filter_jit
    def simulate_with_joint_score(self, key: PRNGKeyArray, theta: ArrayLike) -> Scored:
        """The points of ``simulate``, with the score of z and its mixture component.

        theta sets the width s of the second component alone: there the score is
        (|z - mean|^2 / s^2 - 2) (ds / dtheta) / s, for a point of the first component it is 0.
        """
        theta = _points("theta", theta, 1)
        batch = theta.shape[:-1]
        key_component, key_normal = jr.split(key)
        narrow = jr.bernoulli(key_component, WEIGHTS[1], batch)[..., None]
        means = jnp.array(MEANS)
        mean = jnp.where(narrow, means[1], means[0])
        width = jnp.where(narrow, 0.6 + 0.4 * theta, WIDE)
        standard = jr.normal(key_normal, (*batch, 2))
        growth = jnp.where(narrow, 0.4 / width, 0.0)
        score = growth * (jnp.sum(standard**2, axis=-1, keepdims=True) - 2)
        return Scored(self.embed(mean + width * standard), score)

    def ood(self, key: PRNGKeyArray, n: int) -> OutOfDistribution:
        """Draw ``n`` points at theta = 0, and the same with noise N(0, 0.1^2 I_3) added."""
        key_points, key_noise = jr.split(key)
        x = self.simulate(key_points, jnp.zeros((n, 1)))
        return OutOfDistribution(x, x + NOISE * jr.normal(key_noise, x.shape))

    @eqx.filter_jit
    def height(self, z: ArrayLike) -> Float[Array, "..."]:
        """Height f(z) of the surface above the plane of z."""
        z = _points("z", z, 2)
        w = jnp.exp(-0.1 / DEGREE * jnp.sum(z**2, axis=-1))
        a, b = w * z[..., 0], w * z[..., 1]
        powers = [w**k for k in range(DEGREE + 1)]
        height = jnp.zeros(())
        for i in reversed(range(DEGREE + 1)):  # Horner's rule in a, of Horner's rule in b
            row = jnp.zeros(())
            for j in reversed(range(DEGREE + 1 - i)):
                row = row * b + self.coefficients[INDEX[i, j]] * powers[DEGREE - i - j]
            height = height * a + row
        return height

    def embed(self, z: ArrayLike) -> Float[Array, "... 3"]:
        """Return the point x = R (z_0, z_1, f(z)) of the surface above ``z``."""
        z = _points("z", z, 2)
        upright = jnp.concatenate([z, self.height(z)[..., None]], axis=-1)
        return _rotated(upright, self.rotation.T)

    def unembed(self, x: ArrayLike) -> Float[Array, "... 2"]:
        """Return the z below any ``x``; ``embed(unembed(x))`` is the vertical projection."""
        return self._upright(x)[..., :2]

    def _upright(self, x: ArrayLike) -> Float[Array, "... 3"]:
        """Coordinates in which the surface is the graph of its height."""
        return _rotated(_points("x", x, 3), self.rotation)

    @eqx.filter_jit
    def log_prob(self, x: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """Exact log density with respect to area, at the vertical projection of ``x``."""
        z, theta = self.unembed(x), _points("theta", theta, 1)
        slope = jnp.vectorize(jax.grad(self.height), signature="(n)->(n)")(z)
        return self._latent_log_prob(z, theta) - jnp.log1p(jnp.sum(slope**2, axis=-1)) / 2

    def _latent_log_prob(
        self, z: Float[Array, "... 2"], theta: Float[Array, "... 1"]
    ) -> Float[Array, "..."]:
        """Log density of z in the plane: log-sum-exp over the two components."""
        widths = jnp.concatenate([jnp.full_like(theta, WIDE), 0.6 + 0.4 * theta], axis=-1)
        offset = (z[..., None, :] - jnp.array(MEANS)) / widths[..., None]
        log_normal = -jnp.sum(offset**2, axis=-1) / 2 - jnp.log(2 * jnp.pi) - 2 * jnp.log(widths)
        return jax.nn.logsumexp(jnp.log(jnp.array(WEIGHTS)) + log_normal, axis=-1)

    def vertical_distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Distance to the surface along the vertical of the plane of z (the published measure)."""
        upright = self._upright(x)
        return jnp.abs(upright[..., 2] - self.height(upright[..., :2]))

    def nearest(self, x: ArrayLike) -> Float[Array, "... 3"]:
        """Find the point of the surface nearest to ``x``."""
        return self.embed(self._nearest_z(self._upright(x)))

    def distance(self, x: ArrayLike) -> Float[Array, "..."]:
        """Distance to the nearest point of the surface; never more than the vertical distance."""
        upright = self._upright(x)
        z = self._nearest_z(upright)
        offset = upright - jnp.concatenate([z, self.height(z)[..., None]], axis=-1)
        # The minimum matters on the surface only, where both are rounding errors.
        return jnp.minimum(jnp.linalg.norm(offset, axis=-1), self.vertical_distance(x))

    def _nearest_z(self, upright: Float[Array, "... 3"]) -> Float[Array, "... 2"]:
        """Find the z below the nearest point of the surface; points are (z_0, h), not rotated."""
        flat = upright.reshape(-1, 3)
        chunks = jnp.pad(flat, ((0, -len(flat) % CHUNK), (0, 0))).reshape(-1, CHUNK, 3)
        z = _nearest_in_chunks(self, chunks).reshape(-1, 2)[: len(flat)]
        return z.reshape(*upright.shape[:-1], 2)


@eqx.filter_jit
def _nearest_in_chunks(
    surface: PolynomialSurface, chunks: Float[Array, "k chunk 3"]
) -> Float[Array, "k chunk 2"]:
    def solve(point):
        return nearest_on_graph(surface.height, point)

    return jax.lax.map(jax.vmap(solve), chunks)
