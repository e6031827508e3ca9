"""Small random generators of images."""

from itertools import pairwise

import numpy as np

from mflows.simulators.dcgan import DCGAN


def arrays(*channels: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A checkpoint of a generator: inputs, channels of each size, colours."""
    rng, found = np.random.default_rng(seed), {}
    last = len(channels) - 2
    for i, (inputs, outputs) in enumerate(pairwise(channels)):
        spread = (inputs * (1 if i == 0 else 4)) ** -0.5
        found[f"net.main.{3 * i}.weight"] = rng.normal(size=(inputs, outputs, 4, 4)) * spread
        if i < last:
            name = f"net.main.{3 * i + 1}."
            found[f"{name}weight"], found[f"{name}running_var"] = rng.uniform(1, 2, (2, outputs))
            found[f"{name}bias"], found[f"{name}running_mean"] = rng.normal(size=(2, outputs))
    return found


def generator(*channels: int, seed: int = 0) -> DCGAN:
    return DCGAN.of(arrays(*channels, seed=seed))


def faces() -> DCGAN:
    """In the place of that of faces: 100 inputs, 64 x 64 pixels, hardly any channels."""
    return generator(100, 2, 2, 2, 2, 3)
