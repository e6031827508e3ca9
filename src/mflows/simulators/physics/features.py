"""The 40 features of an event with two photons and two jets (Brehmer & Cranmer 2020, sec. 5.5).

For the photons and the jets, each in the order of their pT, then for the sum of either pair. All
follow from the photons' momenta and the jets' energies and momenta, 6 + 8 numbers: the features lie
on a manifold of 14 dimensions. Two of them, the jets' masses, are nearly invisible.
"""

import numpy as np
from jaxtyping import Float

OF_ONE = ("E", "px", "py", "pz", "pT", "eta")
OF_PAIR = ("E", "px", "py", "pz", "pT", "m", "eta", "delta_eta")
THINGS = ("a1", "a2", "j1", "j2", "aa", "jj")
NAMES = tuple(
    f"{quantity}({thing})"
    for things, quantities in ((THINGS[:4], OF_ONE), (THINGS[4:], OF_PAIR))
    for thing in things
    for quantity in quantities
)
"""Names of the features: a is a photon, j a jet, aa and jj their pairs. GeV, but for eta."""
_LEAST = 1e-9
"""GeV, for a pT that a model makes 0."""
_ROUNDED = 1e-5
"""Of the largest feature of an event: what single precision may lose."""


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


CONSTRAINTS = (
    *(f"pT({thing})" for thing in THINGS),
    *(f"eta({thing})" for thing in THINGS),
    *(f"mass shell of {thing}" for thing in ("a1", "a2", "aa", "jj")),
    *(f"sum of {quantity}({pair})" for pair in ("aa", "jj") for quantity in OF_ONE[:4]),
    *(f"delta_eta({pair})" for pair in ("aa", "jj")),
)
"""The 26 identities that the features of every event obey, of 40 - 14 directions."""
CONSTRAINED = tuple(
    name.removeprefix("sum of ").replace("mass shell of ", "E(") + ")" * name.startswith("mass")
    for name in CONSTRAINTS
)
"""The feature that each of them is about."""


def violations(x: Float[np.ndarray, "N 40"]) -> Float[np.ndarray, "N 26"]:
    """How far the features of events are off each of their `CONSTRAINTS`, in their own units.

    pT and eta of all six things are those of their momentum, the energies of photons and pairs are
    sqrt(p^2 + m^2), a pair is the sum of its parts, and its delta_eta their difference.
    """
    named = dict(zip(NAMES, np.asarray(x, dtype=float).T, strict=True))
    expected = {}
    for thing in THINGS:
        pt = np.hypot(named[f"px({thing})"], named[f"py({thing})"])
        expected[f"pT({thing})"] = pt
        expected[f"eta({thing})"] = np.arcsinh(named[f"pz({thing})"] / np.maximum(pt, _LEAST))
        size = np.hypot(pt, named[f"pz({thing})"])
        expected[f"mass shell of {thing}"] = np.hypot(size, named.get(f"m({thing})", 0.0))
    for pair, one, two in (("aa", "a1", "a2"), ("jj", "j1", "j2")):
        for quantity in OF_ONE[:4]:
            total = named[f"{quantity}({one})"] + named[f"{quantity}({two})"]
            expected[f"sum of {quantity}({pair})"] = total
        expected[f"delta_eta({pair})"] = named[f"eta({one})"] - named[f"eta({two})"]
    pairs = zip(CONSTRAINTS, CONSTRAINED, strict=True)
    return np.stack([np.abs(named[of] - expected[name]) for name, of in pairs], axis=1)


def check_features(x: Float[np.ndarray, "N 40"]) -> Float[np.ndarray, "N 40"]:
    """Return the features of events, in double precision, if that is what they are.

    Raises:
        ValueError: For another shape, values that are not finite, or features that break their
            identities, as those in another order do.
    """
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or x.shape[1] != len(NAMES):
        raise ValueError(f"Expected the {len(NAMES)} features of events, (N, 40); got {x.shape}.")
    if not (finite := np.isfinite(x)).all():
        row, column = map(int, np.argwhere(~finite)[0])
        raise ValueError(
            f"Expected events without missing or infinite values; got {x[row, column]} for "
            f"{NAMES[column]} in row {row} ({(~finite).any(axis=1).sum()} of {len(x)} rows)."
        )
    broken = violations(x) > _ROUNDED * (1 + np.abs(x).max(axis=1, keepdims=True))
    if broken.any():
        worst = int(broken.mean(axis=0).argmax())
        row = int(broken[:, worst].argmax())
        raise ValueError(
            f"Expected features in the order {', '.join(NAMES[:7])}, ... (energies in GeV); got "
            f"values that break the identity '{CONSTRAINTS[worst]}' in "
            f"{broken[:, worst].sum():,} of {len(x):,} events, first in row {row}. Are the columns "
            "in another order, scaled, or noisy?"
        )
    return x
