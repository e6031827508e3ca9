r"""The squared matrix element of quarks a b -> 1 2 h by W W or Z Z fusion, for all theta at once.

A quark line a -> 1 emits a boson of momentum q_1 = p_a - p_1, the other one q_2 = p_b - p_2, and
they fuse. With the quark currents J_1, J_2, the boson's mass M and Lambda = 1 TeV the amplitude is

    A = M^2 / ((q_1^2 - M^2)(q_2^2 - M^2)) {
          J_1.J_2 [1 - c_W (q_1^2 + q_2^2) / Lambda^2]
        - 2 c_HW / Lambda^2 [q_1.q_2 J_1.J_2 - (J_1.q_2)(J_2.q_1)]
        - 2 c_HWtilde / Lambda^2 eps(J_1, J_2, q_1, q_2) }

in tree-level order, for massless quarks. c_W and c_HW are even under CP, c_HWtilde is odd. A is
linear in theta, so that |A|^2, summed over helicities, is

    |A|^2 = t^T G t,   t = (1, theta),

and the matrix G of an event gives its density ratio and joint score at any theta (Brehmer et al.
2018, arXiv 1805.00020). The interference of W W with Z Z, of identical flavours, is left out, as in
Pythia. Everything is computed in double precision, whatever JAX's default.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

COUPLINGS = ("c_W", "c_HWtilde", "c_HW")
"""The Wilson coefficients, in the order of theta."""
LAMBDA = 1000.0
"""Scale of the operators, GeV."""
MASS_W, MASS_Z = 80.385, 91.1876
"""GeV."""
SIN2 = 0.2312
"""Squared sine of the weak mixing angle."""
_METRIC = np.array([1.0, -1.0, -1.0, -1.0])


def components(
    momenta: Float[np.ndarray, "N 4 4"],
    flavours: Int[np.ndarray, "N 4"],
    *,
    masses: tuple[float, float] = (MASS_W, MASS_Z),
    sin2: float = SIN2,
) -> Float[np.ndarray, "N 4 4"]:
    """The matrices G of events, symmetric, by (1, *COUPLINGS), up to a factor common to all events.

    Args:
        momenta: Four-momenta (E, px, py, pz) of a, b, 1, 2, in GeV; energies are set to |p|. The
            quark 1 is of the line of a, and 2 of that of b.
        flavours: Their PDG codes, negative for antiquarks.
        masses: Of W and Z, in GeV.
        sin2: Squared sine of the weak mixing angle.

    Raises:
        ValueError: For codes that are no quarks, or lines that neither both keep their flavour
            (Z Z) nor both change their charge, by opposite amounts (W W).
    """
    flavours = np.asarray(flavours)
    charged = _charged(flavours)
    with jax.enable_x64(True):
        given = jnp.asarray(momenta, dtype=float), jnp.asarray(flavours), jnp.asarray(charged)
        found = _components(*given, jnp.array(masses), jnp.array(sin2))
        return np.asarray(found)


def squared(
    matrices: Float[np.ndarray, "N 4 4"], theta: Float[np.ndarray, "*N k"]
) -> Float[np.ndarray, " N"]:
    """|A|^2 of events at theta, of as many couplings as it has components, the others 0.

    Theta is one for all events, or one for each, shape (N, k).
    """
    t = _extended(theta)
    return ((matrices @ t[..., None])[..., 0] * t).sum(axis=-1)


def joint_score(
    matrices: Float[np.ndarray, "N 4 4"], theta: Float[np.ndarray, "*N k"]
) -> Float[np.ndarray, "N k"]:
    """The gradient of log |A|^2 by theta, one for all events or one for each."""
    t = _extended(theta)
    half = (matrices @ t[..., None])[..., 0]
    return 2 * half[:, 1 : 1 + theta.shape[-1]] / (half * t).sum(axis=-1, keepdims=True)


def _extended(theta: np.ndarray) -> np.ndarray:
    """(1, theta, 0, ...), shape (..., 4)."""
    theta = np.asarray(theta, dtype=float)
    if theta.ndim not in (1, 2) or not 1 <= theta.shape[-1] <= len(COUPLINGS):
        raise ValueError(
            f"Expected theta of 1 to {len(COUPLINGS)} couplings ({', '.join(COUPLINGS)}); got an "
            f"array of shape {theta.shape}."
        )
    more = np.zeros((*theta.shape[:-1], len(COUPLINGS) - theta.shape[-1]))
    return np.concatenate([np.ones((*theta.shape[:-1], 1)), theta, more], axis=-1)


def _charged(flavours: np.ndarray) -> np.ndarray:
    """Which events are by W W, shape (N,)."""
    if not np.isin(np.abs(flavours), np.arange(1, 7)).all():
        raise ValueError("Expected PDG codes of quarks, 1 to 6 and their negatives.")
    thirds = np.where(flavours % 2 == 0, 2, -1) * np.sign(flavours)  # of the elementary charge
    change = thirds[:, 2:] - thirds[:, :2]
    same = (flavours[:, 2:] == flavours[:, :2]).all(axis=1)
    kind = (np.sign(flavours[:, 2:]) == np.sign(flavours[:, :2])).all(axis=1)
    charged = kind & (np.abs(change) == 3).all(axis=1) & (change.sum(axis=1) == 0)
    if not (same | charged).all():
        odd = int(np.argmin(same | charged))
        raise ValueError(
            "Expected quark lines a -> 1 and b -> 2 that keep their flavours (Z Z) or change their "
            f"charges by opposite amounts (W W); got {flavours[odd].tolist()} in event {odd}."
        )
    return charged


@jax.jit
def _components(momenta, flavours, charged, masses, sin2):
    return jax.vmap(partial(_of_event, masses=masses, sin2=sin2))(momenta, flavours, charged)


def _of_event(momenta, flavours, charged, *, masses, sin2):
    p = momenta.at[:, 0].set(jnp.linalg.norm(momenta[:, 1:], axis=1))
    q1, q2 = p[0] - p[2], p[1] - p[3]
    mass2 = jnp.square(jnp.where(charged, masses[0], masses[1]))
    propagators = mass2 / ((_dot(q1, q1) - mass2) * (_dot(q2, q2) - mass2))
    first = _line(p[0], p[2], flavours[0], charged, sin2)
    second = _line(p[1], p[3], flavours[1], charged, sin2)

    def amplitudes(one, other):
        product, scale = _dot(one, other), 1 / LAMBDA**2
        across = _dot(one, q2) * _dot(other, q1)
        parts = [
            product,
            -scale * (_dot(q1, q1) + _dot(q2, q2)) * product,
            -2 * scale * _epsilon(one, other, q1, q2),
            -2 * scale * (_dot(q1, q2) * product - across),
        ]
        return propagators * jnp.stack(parts)

    by_helicity = jax.vmap(jax.vmap(amplitudes, (None, 0)), (0, None))(first, second)
    return jnp.einsum("abi,abj->ij", by_helicity, by_helicity.conj()).real


def _line(incoming, outgoing, flavour, charged, sin2):
    """The currents of a quark line, for left- and right-handed quarks, with their couplings (2, 4).

    Those of W are left-handed alone. An antiquark has the conjugate current.
    """
    left, right = (_current(incoming, outgoing, hand) for hand in (-1, 1))
    current = jnp.stack([left, right])
    current = jnp.where(flavour < 0, current.conj(), current)
    up = flavour % 2 == 0
    charge, isospin = jnp.where(up, 2 / 3, -1 / 3), jnp.where(up, 0.5, -0.5)
    neutral = jnp.stack([isospin - charge * sin2, -charge * sin2])
    of_w = jnp.stack([jnp.sqrt((1 - sin2) / 2), 0.0])
    return jnp.where(charged, of_w, neutral)[:, None] * current


def _current(incoming, outgoing, hand: int):
    """u(p')^dagger sigma^mu u(p), shape (4,), of helicity ``hand`` / 2, with contravariant mu."""
    one, other = _spinor(outgoing, hand).conj(), _spinor(incoming, hand)
    time = one[0] * other[0] + one[1] * other[1]
    x = one[0] * other[1] + one[1] * other[0]
    y = -1j * one[0] * other[1] + 1j * one[1] * other[0]
    z = one[0] * other[0] - one[1] * other[1]
    return jnp.stack([time, hand * x, hand * y, hand * z])


def _spinor(p, hand: int):
    """The Weyl spinor of a massless momentum, of squared norm 2E."""
    energy, transverse = p[0], jnp.hypot(p[1], p[2])
    along = transverse == 0
    phase = jnp.where(along, 1.0, p[1] + 1j * p[2]) / jnp.where(along, 1.0, transverse)
    larger = jnp.sqrt((energy + jnp.abs(p[3])) / (2 * energy))  # of cos and sin of half the angle
    smaller = transverse / (2 * energy * larger)  # no digits lost near the beam
    cos, sin = jnp.where(p[3] >= 0, larger, smaller), jnp.where(p[3] >= 0, smaller, larger)
    parts = (cos + 0j, sin * phase) if hand > 0 else (-sin * phase.conj(), cos + 0j)
    return jnp.sqrt(2 * energy) * jnp.stack(parts)


def _dot(a, b):
    return jnp.sum(a * b * _METRIC)


def _epsilon(a, b, c, d):
    """The totally antisymmetric product of four contravariant vectors, eps_0123 = -1."""
    return -jnp.linalg.det(jnp.stack([a, b, c, d]).astype(complex))
