"""What a detector makes of photons and jets: resolutions, and the cuts of the analysis.

| | energy | direction (eta, phi) |
|---|---|---|
| photons | 1.5% (CMS, arXiv 1502.02702: 1 to 3% for photons of h -> gamma gamma) | .001 |
| jets | 10% (CMS, arXiv 1706.04965: 15% at 10 GeV, 8% at 100 GeV) | .02 |

Errors are normal and independent. A jet's mass is scaled as its energy, so that the smeared event
has 14 dimensions, as the true one. Without smearing the photons' pair would have the narrow mass of
the Higgs boson, and the data one dimension less.
"""

import numpy as np
from jaxtyping import Bool, Float

from mflows.simulators.physics.features import pseudorapidity, transverse

PHOTON_ENERGY, PHOTON_ANGLE = 0.015, 0.001
JET_ENERGY, JET_ANGLE = 0.10, 0.02
PHOTON_PT, PHOTON_ETA = 10.0, 2.5
JET_PT, JET_ETA = 20.0, 5.0
"""Cuts: pT above, in GeV, and \\|eta\\| below."""


def smeared(
    rng: np.random.Generator, p: Float[np.ndarray, "N two 4"], energy: float, angle: float
) -> Float[np.ndarray, "N two 4"]:
    """Four-momenta with errors of energy (relative) and of direction, sorted by their pT."""
    scale = np.maximum(1 + energy * rng.normal(size=p.shape[:2]), 0.1)
    eta = pseudorapidity(p) + angle * rng.normal(size=p.shape[:2])
    phi = np.arctan2(p[..., 2], p[..., 1]) + angle * rng.normal(size=p.shape[:2])
    size = scale * np.sqrt(np.square(p[..., 1:]).sum(axis=-1))
    pt = size / np.cosh(eta)
    parts = (scale * p[..., 0], pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))
    found = np.stack(parts, axis=-1)
    order = np.argsort(-pt, axis=1)
    return np.take_along_axis(found, order[..., None], axis=1)


def accepted(
    photons: Float[np.ndarray, "N 2 4"], jets: Float[np.ndarray, "N 2 4"]
) -> Bool[np.ndarray, " N"]:
    """Which events pass the cuts."""
    good = (transverse(photons) > PHOTON_PT) & (np.abs(pseudorapidity(photons)) < PHOTON_ETA)
    good &= (transverse(jets) > JET_PT) & (np.abs(pseudorapidity(jets)) < JET_ETA)
    return np.asarray(good.all(axis=1))
