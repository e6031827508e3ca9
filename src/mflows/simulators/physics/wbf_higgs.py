"""Higgs production by weak boson fusion: events of the Standard Model, and weights for theta."""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mflows.simulators.physics import detector, generator, matrix_element
from mflows.simulators.physics.features import NAMES, features

PART = 2000
"""Events of a part, which one core generates."""
_UPPER = np.triu_indices(1 + len(matrix_element.COUPLINGS))


class WBFHiggs:
    """pp -> h j j, h -> gamma gamma at 13 TeV: 40 features on a manifold of 14 dimensions.

    Events are generated in parts, which are kept in ``mflows/wbf-higgs`` of the user's cache folder
    and read from there when they are asked for again. The same seed gives the same events, whatever
    their number and the number of cores.

    Every event comes with the ten components of its squared matrix element (see
    ``mflows.simulators.physics.matrix_element``), which give its weight and joint score at any
    theta.
    """

    names = NAMES

    def parts(self, count: int, seed: int) -> list[tuple[int, int]]:
        """What `part` has to be called with, in order, for so many events or a few more."""
        return [(seed, index) for index in range(-(-count // PART))]

    @staticmethod
    def part(seed: int, index: int) -> dict[str, np.ndarray]:
        """``PART`` events: x (40), components (10), flavours (4) and channel.

        The channel is 24 for W W and 23 for Z Z. The components are the upper triangle of the
        symmetric matrix G, row by row.

        Raises:
            ModuleNotFoundError: If they are not in the cache, and there is no Pythia.
        """
        events = _cached(seed, index)
        matrices = matrix_element.components(events["quarks"], events["flavours"])
        flavours = events["flavours"]
        return {
            "x": features(events["photons"], events["jets"]),
            "components": matrices[:, *_UPPER],
            "flavours": flavours,
            "channel": np.where(flavours[:, 0] == flavours[:, 2], 23, 24),
        }


def matrices(components: np.ndarray) -> np.ndarray:
    """The symmetric matrices G, shape (N, 4, 4), of their ten components."""
    found = np.empty((len(components), 4, 4))
    found[:, *_UPPER] = components
    found[:, *_UPPER[::-1]] = components
    return found


def _cached(seed: int, index: int) -> dict[str, np.ndarray]:
    """A part as `generate` made it, from the cache if it is there."""
    settings = (generator.SETTINGS, generator.RADIUS, generator.JET_PT, PART)
    cuts = tuple(value for name, value in sorted(vars(detector).items()) if name.isupper())
    known = hashlib.sha256(repr((settings, cuts)).encode()).hexdigest()[:12]
    path = _folder() / f"{known}-{seed}-{index}.npz"
    with suppress(FileNotFoundError, BadZipFile, ValueError, EOFError), path.open("rb") as file:
        return dict(np.load(file))  # a damaged one is made again
    state = np.random.SeedSequence([seed, index]).generate_state(1)[0]
    events = vars(generator.generate(PART, int(state) % 900_000_000 + 1)).copy()
    events.pop("tried")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            np.savez(file, **events)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    return events


def _folder() -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return caches / "mflows" / "wbf-higgs"
