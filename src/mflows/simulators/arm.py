r"""Pictures of a robot arm, whose density is known exactly.

n links of equal length hang together in a chain that starts in the middle of the picture. Joint i
turns link i by phi_i = a_i tanh(z_i) against the one before, and

    z ~ 0.6 N(-1/2, 0.45^2 I) + 0.4 N((1/2, ..., 1/2) + (0.3 theta, 0, ..., 0), 0.3^2 I).

A link from p to p + l d covers a pixel at p + t d + s d', d' across d, by

    c = 1/2 (erf(t / w) - erf((t - l) / w)) exp(-s^2 / (2 w^2)),

and is painted over what is there with the opacity 1 - exp(-8 c), darker on one side than on
the other by tanh(s / w). So the picture is a smooth function of z. It is one to one but for
a pose whose links lie on top of each other: the last ones are painted last.
"""

import math
from typing import ClassVar

import jax.numpy as jnp
import jax.random as jr
from flowjax.distributions import Uniform
from jax.nn import logsumexp
from jax.scipy.special import erf
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from mflows.simulators.immersion import Immersion
from mflows.simulators.simulator import Scored

WEIGHTS, MEANS, WIDTHS, SHIFT = (0.6, 0.4), (-0.5, 0.5), (0.45, 0.3), 0.3
REACH, WIDTH, GAIN, SHADE = 0.78, 0.08, 8.0, 0.2
"""Length of the arm and half width of its links, in halves of the picture; opacity, shading."""
GROUND = (0.93, 0.93, 0.9)
# Okabe and Ito's, which the colour-blind tell apart.
COLOURS = (
    (0.0, 0.45, 0.7),
    (0.84, 0.37, 0.0),
    (0.0, 0.62, 0.45),
    (0.8, 0.47, 0.65),
    (0.34, 0.71, 0.91),
    (0.9, 0.62, 0.0),
    (0.94, 0.89, 0.26),
    (0.2, 0.2, 0.2),
)


class Arm(Immersion):
    """A robot arm of n joints, as pictures (size, size, 3) with values from 0 to 1.

    Its density, the nearest picture and the distance to it are exact (`Immersion`). theta in
    [-1, 1] moves the first joint of the second component.

    Args:
        joints: Number n of joints, 1 to 8.
        size: Pixels along a side, at least 8.
    """

    latent_dim: int
    shape: tuple[int, int, int]
    candidates: ClassVar[int] = 4096

    def __init__(self, joints: int = 2, size: int = 32):
        if not 1 <= joints <= len(COLOURS):
            raise ValueError(f"Expected 1 to {len(COLOURS)} joints; got {joints}.")
        if not 8 <= size <= 1024:
            raise ValueError(f"Expected a size of 8 to 1024 pixels; got {size}.")
        self.latent_dim = joints
        self.shape = (size, size, 3)

    @property
    def prior(self) -> Uniform:
        """Theta is uniform on [-1, 1], shape (1,)."""
        return Uniform(-jnp.ones(1), jnp.ones(1))

    def angles(self, z: Float[Array, "... n"]) -> Float[Array, "... n"]:
        """The angles phi of the joints, in radians."""
        later = 0.9 if self.latent_dim > 4 else 1.6
        limits = jnp.full(self.latent_dim, later).at[0].set(0.9 * math.pi)
        return limits * jnp.tanh(z)

    def draw(self, key: PRNGKeyArray, theta: Float[Array, " 1"]) -> Scored:
        """Coordinates of a picture, with grad_theta log p(z, component | theta)."""
        component_key, normal_key = jr.split(key)
        second = jr.bernoulli(component_key, WEIGHTS[1])
        width = jnp.where(second, WIDTHS[1], WIDTHS[0])
        standard = jr.normal(normal_key, (self.latent_dim,))
        mean = jnp.where(second, self._second(theta), MEANS[0])
        score = jnp.where(second, SHIFT * standard[:1] / width, 0.0)
        return Scored(mean + width * standard, score)

    def latent_log_prob(self, z: Float[Array, " n"], theta: Float[Array, " 1"]) -> Scalar:
        """Log density of the coordinates."""
        means = jnp.stack([jnp.full(self.latent_dim, MEANS[0]), self._second(theta)])
        widths = jnp.asarray(WIDTHS)
        squares = jnp.sum(((z - means) / widths[:, None]) ** 2, axis=1)
        normals = -squares / 2 - self.latent_dim * jnp.log(widths * math.sqrt(2 * math.pi))
        return logsumexp(jnp.log(jnp.asarray(WEIGHTS)) + normals)

    def _second(self, theta: Float[Array, " 1"]) -> Float[Array, " n"]:
        return jnp.full(self.latent_dim, MEANS[1]).at[0].add(SHIFT * theta[0])

    def render(self, z: Float[Array, " n"]) -> Float[Array, "H W 3"]:
        """The picture of a pose."""
        heading = jnp.cumsum(self.angles(z))
        length = REACH / self.latent_dim
        directions = jnp.stack([jnp.sin(heading), jnp.cos(heading)], axis=1)  # 0 is upwards
        bases = length * (jnp.cumsum(directions, axis=0) - directions)
        size = self.shape[0]
        axis = (2 * jnp.arange(size) + 1) / size - 1
        pixels = jnp.stack(jnp.meshgrid(axis, -axis), axis=-1)
        picture = jnp.broadcast_to(jnp.asarray(GROUND), self.shape)
        for base, direction, colour in zip(bases, directions, COLOURS, strict=False):
            offset = pixels - base
            along = offset @ direction
            across = (offset[..., 0] * direction[1] - offset[..., 1] * direction[0]) / WIDTH
            covered = (erf(along / WIDTH) - erf((along - length) / WIDTH)) / 2
            opacity = 1 - jnp.exp(-GAIN * covered * jnp.exp(-(across**2) / 2))
            light = 1 - SHADE * (1 - jnp.tanh(across))
            paint = jnp.asarray(colour) * light[..., None]
            picture = picture + opacity[..., None] * (paint - picture)
        return picture
