"""The 40 features of an event with two photons and two jets (Brehmer & Cranmer 2020, sec. 5.5).

For the photons and the jets, each in the order of their pT, then for the sum of either pair. All
follow from the photons' momenta and the jets' energies and momenta, 6 + 8 numbers: the features lie
on a manifold of 14 dimensions. Two of them, the jets' masses, are nearly invisible.
"""

import numpy as np
from jaxtyping import Float

OF_ONE = ("E", "px", "py", "pz", "pT", "eta")
OF_PAIR = ("E", "px", "py", "pz", "pT", "m", "eta", "delta_eta")
NAMES = tuple(
    f"{quantity}({thing})"
    for things, quantities in ((("a1", "a2", "j1", "j2"), OF_ONE), (("aa", "jj"), OF_PAIR))
    for thing in things
    for quantity in quantities
)
"""Names of the features: a is a photon, j a jet, aa and jj their pairs. GeV, but for eta."""


def features(
    photons: Float[np.ndarray, "N 2 4"], jets: Float[np.ndarray, "N 2 4"]
) -> Float[np.ndarray, "N 40"]:
    """Features of events given four-momenta (E, px, py, pz), the harder one first.

    The difference of pseudorapidities is that of the first less the second.
    """
    singles, pairs = [], []
    for two in (photons, jets):
        eta = pseudorapidity(two)
        one = np.concatenate([two, transverse(two)[..., None], eta[..., None]], axis=-1)
        singles.append(one.reshape(len(two), -1))
        both = two.sum(axis=1)
        mass = np.sqrt(np.maximum(invariant_squared(both), 0))
        more = (transverse(both), mass, pseudorapidity(both), eta[:, 0] - eta[:, 1])
        pairs.append(np.concatenate([both, np.stack(more, axis=1)], axis=1))
    return np.concatenate([*singles, *pairs], axis=1)


def four_momenta(
    x: Float[np.ndarray, "N 40"],
) -> tuple[Float[np.ndarray, "N 2 4"], Float[np.ndarray, "N 2 4"]]:
    """The photons and jets of which features are."""
    singles = np.asarray(x)[:, :24].reshape(-1, 4, 6)[..., :4]
    return singles[:, :2], singles[:, 2:]


def transverse(p: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """Momentum across the beam."""
    return np.hypot(p[..., 1], p[..., 2])


def pseudorapidity(p: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """arsinh(pz / pT)."""
    return np.arcsinh(p[..., 3] / transverse(p))


def invariant_squared(p: Float[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """E^2 - p^2, as (E - |p|)(E + |p|), which keeps more digits."""
    size = np.sqrt(np.square(p[..., 1:]).sum(axis=-1))
    return (p[..., 0] - size) * (p[..., 0] + size)
