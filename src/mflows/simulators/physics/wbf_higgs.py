"""Higgs production by weak boson fusion: events of the Standard Model, and weights for theta."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mflows.files import cache_folder, replacing
from mflows.simulators.physics import detector, generator, matrix_element
from mflows.simulators.physics.features import NAMES, features
from mflows.simulators.physics.pool import REACH, UPPER, Pool

PART = 2000
"""Events of a part, which one core generates."""


SHIPPED = 4000
"""Events of seed 0 that come with the library, so that they need no Pythia."""


@dataclass(frozen=True)
class WBFHiggs:
    """pp -> h j j, h -> gamma gamma at 13 TeV: 40 features on a manifold of 14 dimensions.

    Events are generated in parts, which are kept in ``mflows/wbf-higgs`` of the user's cache folder
    and read from there when they are asked for again. The same seed gives the same events, whatever
    their number and the number of cores.

    Every event comes with the ten components of its squared matrix element (see
    ``mflows.simulators.physics.matrix_element``), which give its weight and joint score at any
    theta: ``mflows.simulators.physics.pool.Pool`` draws events at theta by them.

    Args:
        hadrons: With multi-parton interactions and hadronisation, which takes ten times as long.
    """

    hadrons: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return NAMES

    def parts(self, count: int, seed: int) -> list[tuple[int, int]]:
        """What `part` has to be called with, in order, for so many events or a few more."""
        return [(seed, index) for index in range(-(-count // PART))]

    def part(self, seed: int, index: int) -> dict[str, np.ndarray]:
        """``PART`` events: x (40), components (10), flavours (4) and channel.

        The channel is 24 for W W and 23 for Z Z. The components are the upper triangle of the
        symmetric matrix G, row by row.

        Raises:
            ModuleNotFoundError: If they are not in the cache, and there is no Pythia.
        """
        events = self._cached(seed, index)
        matrices = matrix_element.components(events["quarks"], events["flavours"])
        flavours = events["flavours"]
        return {
            "x": features(events["photons"], events["jets"]),
            "components": matrices[:, *UPPER],
            "flavours": flavours,
            "channel": np.where(flavours[:, 0] == flavours[:, 2], 23, 24),
        }

    def summary(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Which part of the events is effective at large couplings."""
        pool, at = Pool.of(arrays), REACH * np.eye(2)
        parts = zip(np.concatenate([at, -at[:1]]), ("c_W", "c_HWtilde", "-c_W"), strict=True)
        shown = ", ".join(f"{pool.effective(theta):.0%} at {name}" for theta, name in parts)
        return f"Effective part of the events at couplings of {REACH:g}: {shown}."

    def _cached(self, seed: int, index: int) -> dict[str, np.ndarray]:
        """A part as `generate` made it, from the library or the cache if it is there."""
        chosen = generator.settings(hadrons=self.hadrons), generator.RADIUS, generator.JET_PT, PART
        cuts = tuple(value for name, value in sorted(vars(detector).items()) if name.isupper())
        known = hashlib.sha256(repr((chosen, cuts)).encode()).hexdigest()[:12]
        name = f"{known}-{seed}-{index}.npz"
        for folder in (_SHIPPED, _folder()):  # a damaged one is made again
            path, no_part = folder / name, (FileNotFoundError, BadZipFile, ValueError, EOFError)
            with suppress(*no_part), path.open("rb") as file:
                return dict(np.load(file))
        state = np.random.SeedSequence([seed, index]).generate_state(1)[0]
        made = generator.generate(PART, int(state) % 900_000_000 + 1, hadrons=self.hadrons)
        events = {key: array for key, array in vars(made).items() if key != "tried"}
        with replacing(_folder() / name) as file:
            np.savez(file, **events)
        return events


_SHIPPED = Path(__file__).parent / "events"


def _folder() -> Path:
    return cache_folder("wbf-higgs")
