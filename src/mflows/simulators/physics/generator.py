"""Events pp -> h j j, h -> gamma gamma at 13 TeV by weak boson fusion, by Pythia 8.

Pythia (Bierlich et al. 2022, arXiv 2203.11601) makes the hard process by W W and Z Z fusion in the
Standard Model, the Higgs decay and the showers, its copy of FastJet (Cacciari, Salam & Soyez 2012,
arXiv 1111.6097) the jets. Theta enters by weights, `matrix_element`. Multi-parton interactions and
hadronisation are off unless asked for.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mflows.simulators.physics import detector

SETTINGS = (
    "Beams:eCM = 13000.",
    "HiggsSM:ff2Hff(t:WW) = on",
    "HiggsSM:ff2Hff(t:ZZ) = on",
    "25:onMode = off",
    "25:onIfMatch = 22 22",
    "PartonLevel:MPI = off",
    "HadronLevel:all = off",
    "Print:quiet = on",
    "Random:setSeed = on",
)
PARTONS = ("PartonLevel:MPI = off", "HadronLevel:all = off")
"""Settings of events without multi-parton interactions and hadronisation."""
RADIUS, JET_PT = 0.4, 15.0
"""Of the anti-kT jets, the least pT in GeV before smearing."""
_BLOCK = 1000
_banner_shown = False


@dataclass(frozen=True)
class Events:
    """Events that pass the cuts.

    Attributes:
        photons: Smeared four-momenta (E, px, py, pz) in GeV, the harder one first.
        jets: Those of the two hardest jets.
        quarks: True four-momenta of a, b, 1, 2 of the hard process.
        flavours: Their PDG codes.
        tried: How many events Pythia made for them.
    """

    photons: Float[np.ndarray, "N 2 4"]
    jets: Float[np.ndarray, "N 2 4"]
    quarks: Float[np.ndarray, "N 4 4"]
    flavours: Int[np.ndarray, "N 4"]
    tried: int


def settings(*, hadrons: bool) -> tuple[str, ...]:
    """What Pythia is told, but for the seed."""
    return tuple(line for line in SETTINGS if not (hadrons and line in PARTONS))


def generate(count: int, seed: int, *, hadrons: bool = False) -> Events:
    """So many accepted events, of one seed, on one core.

    Args:
        count: Number of events.
        seed: Seed of Pythia, 1 to 900,000,000, and of the detector.
        hadrons: With multi-parton interactions and hadronisation.

    Raises:
        ModuleNotFoundError: Without Pythia.
    """
    pythia8 = _imported()
    pythia = pythia8.Pythia("", False)
    for setting in (*settings(hadrons=hadrons), f"Random:seed = {seed}"):
        if not pythia.readString(setting):
            raise ValueError(f"Expected a setting that Pythia knows; got {setting!r}.")
    if not pythia.init():
        raise RuntimeError("Pythia could not start.")
    slow_jet = pythia8.SlowJet(-1, RADIUS, JET_PT, detector.JET_ETA + 0.5)
    rng = np.random.default_rng(seed)
    kept: list[tuple[np.ndarray, ...]] = []
    tried = found = 0
    while found < count:
        block = []
        for _ in range(_BLOCK):
            tried += 1
            if pythia.next() and (event := _event(pythia, slow_jet)) is not None:
                block.append(event)
        photons, jets, quarks, flavours = (np.array(each) for each in zip(*block, strict=True))
        photons = detector.smeared(rng, photons, detector.PHOTON_ENERGY, detector.PHOTON_ANGLE)
        jets = detector.smeared(rng, jets, detector.JET_ENERGY, detector.JET_ANGLE)
        good = detector.accepted(photons, jets)
        kept.append(tuple(each[good] for each in (photons, jets, quarks, flavours)))
        found += int(good.sum())
    first = [np.concatenate(each)[:count] for each in zip(*kept, strict=True)]
    return Events(first[0], first[1], first[2], first[3], tried)


def _event(pythia: Any, slow_jet: Any) -> tuple | None:
    """Photons, jets, quarks and flavours of the event; ``None`` without two of the first ones."""
    event, hard = pythia.event, pythia.process
    photons = [p for p in event if p.isFinal() and p.id() == 22 and event[p.mother1()].id() == 25]
    if len(photons) != 2:
        return None
    with _without_banner():
        slow_jet.analyze(event)
    jets = []
    for i in range(slow_jet.sizeJet()):
        near = (_separation(slow_jet, i, photon) for photon in photons)
        if len(jets) < 2 and min(near) > RADIUS:
            jets.append(_four(slow_jet.p(i)))
    if len(jets) < 2:
        return None
    quarks = [hard[i] for i in (3, 4, 6, 7)]
    momenta, flavours = [_four(each.p()) for each in quarks], [each.id() for each in quarks]
    return [_four(p.p()) for p in photons], jets, momenta, flavours


@contextmanager
def _without_banner() -> Iterator[None]:
    """The banner that FastJet prints at its first event does not reach standard output."""
    global _banner_shown
    if _banner_shown:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
        ctypes.CDLL(None).fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        _banner_shown = True


def _separation(slow_jet: Any, i: int, photon: Any) -> float:
    turn = abs(slow_jet.phi(i) - photon.phi())
    return float(np.hypot(slow_jet.y(i) - photon.eta(), min(turn, 2 * np.pi - turn)))


def _four(p: Any) -> tuple[float, float, float, float]:
    return p.e(), p.px(), p.py(), p.pz()


def _imported() -> Any:
    try:
        import pythia8mc
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Events of particle physics need Pythia: pip install 'mflows[physics]' (Python 3.11 to "
            f"3.13; this is {sys.version_info.major}.{sys.version_info.minor})."
        ) from None
    return pythia8mc
