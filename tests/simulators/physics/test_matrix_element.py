"""The matrix element beside another program, and its symmetries."""

from pathlib import Path

import numpy as np
import pytest
import ufo_sm
from jax import enable_x64
from ufoamp.analysis import MatrixElement

from mflows.simulators.physics.matrix_element import (
    COUPLINGS,
    _current,
    _spinor,
    components,
    joint_score,
    squared,
)

HIGGS = 125.0
THETA = np.array([1.5, -2.0, 0.7])
CODES = {"d": 1, "u": 2, "s": 3, "c": 4}
WW, ZZ = (2, 3, 1, 4), (2, -4, 2, -4)


def on_shell(momentum: np.ndarray, mass: float = 0.0) -> np.ndarray:
    return np.concatenate([np.sqrt(mass**2 + (momentum**2).sum(-1, keepdims=True)), momentum], -1)


def events(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Momenta of a, b, 1, 2 and of the Higgs boson, with quarks in both directions."""
    rng = np.random.default_rng(seed)
    pt, phi = 20 + rng.exponential(60, (count, 2)), rng.uniform(-np.pi, np.pi, (count, 2))
    eta = rng.normal([2.5, -2.5], 1.0, (count, 2))
    quarks = on_shell(np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], -1))
    along = 100 * rng.normal(size=(count, 1))
    higgs = on_shell(np.concatenate([-quarks[..., 1:3].sum(axis=1), along], 1), HIGGS)
    energy, _, _, z = (quarks.sum(axis=1) + higgs).T
    beams = np.zeros((count, 2, 4))
    beams[:, 0, 0], beams[:, 1, 0] = (energy + z) / 2, (energy - z) / 2
    beams[:, :, 3] = beams[:, :, 0] * [1, -1]
    return np.concatenate([beams, quarks], axis=1), higgs


def matrices(momenta, flavours, **settings):
    return components(momenta, np.tile(flavours, (len(momenta), 1)), **settings)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files left open
@pytest.mark.parametrize(
    "process", ["u s > d c h", "u c~ > d s~ h", "d s > d s h", "u c~ > u c~ h"]
)
def test_without_operators_it_is_that_of_ufoamp(process):
    """All channels with one factor, so that W W and Z Z have the right weights, too."""
    massless = {name: 0.0 for name in ("MC", "ymc", "WW", "WZ", "WH")}
    model = str(Path(ufo_sm.__file__).parent)
    theirs = MatrixElement(model, process, couplings={**massless, "MH": HIGGS})
    momenta, higgs = events(3)
    expected = [theirs.m2([*p, h]) for p, h in zip(momenta, higgs, strict=True)]
    names = process.replace(">", "").split()[:4]
    flavours = [CODES[name[0]] * (-1 if name.endswith("~") else 1) for name in names]
    own = matrices(momenta, flavours, masses=(80.419, 91.188), sin2=0.2222)
    np.testing.assert_allclose(np.array(expected) / own[:, 0, 0], 4.96472e-6, rtol=1e-4)


@pytest.mark.parametrize("flavours", [WW, ZZ], ids=["W W", "Z Z"])
def test_boosts_and_turns_change_nothing(flavours):
    momenta, _ = events(20)
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turned = momenta.copy()
    turned[..., 1:] = momenta[..., 1:] @ (turn * np.linalg.det(turn)).T
    speed = np.array([0.3, -0.5, 0.4])
    gamma = 1 / np.sqrt(1 - speed @ speed)
    along = np.eye(3) + (gamma - 1) * np.outer(speed, speed) / (speed @ speed)
    boost = np.block(
        [[gamma * np.ones((1, 1)), -gamma * speed[None]], [-gamma * speed[:, None], along]]
    )
    here = matrices(momenta, flavours)
    there = matrices(turned @ boost.T, flavours)
    size = np.sqrt(np.einsum("nii->ni", here))
    np.testing.assert_allclose(
        *((each / (size[:, None] * size[:, :, None])) for each in (there, here)), atol=1e-9
    )


@pytest.mark.parametrize("flavours", [WW, ZZ], ids=["W W", "Z Z"])
def test_a_mirror_and_antiquarks_turn_the_odd_coupling(flavours):
    momenta, _ = events(20)
    mirrored = momenta * [1, -1, -1, -1]
    odd = np.where(np.array(COUPLINGS) == "c_HWtilde", -1, 1)
    here = squared(matrices(momenta, flavours), THETA)
    there = squared(matrices(mirrored, -np.array(flavours)), odd * THETA)
    np.testing.assert_allclose(there, here, rtol=1e-10)
    assert np.abs(squared(matrices(mirrored, -np.array(flavours)), THETA) / here - 1).max() > 0.01


def test_currents_are_conserved():
    momenta, _ = events(20)
    with enable_x64(True):
        for p in momenta:
            for hand in (-1, 1):
                current = np.asarray(_current(p[0], p[2], hand))
                parts = current * (p[0] - p[2]) * [1, -1, -1, -1]
                assert abs(parts.sum()) < 1e-13 * np.abs(parts).max()


@pytest.mark.parametrize("side", [1, -1])
def test_quarks_near_the_beam_lose_no_digits(side):
    """The components of a spinor have the squares E + pz and E - pz = pT^2 / (E + pz)."""
    quark = on_shell(np.array([1e-3, 2e-3, 1e3 * side]))
    with enable_x64(True):
        parts = np.abs(_spinor(quark, 1))[::side] ** 2
    large = quark[0] + 1e3
    np.testing.assert_allclose(parts, [large, 5e-6 / large], rtol=1e-14)


@pytest.mark.parametrize("couplings", [1, 2, 3])
def test_scores_are_derivatives(couplings):
    momenta, _ = events(10)
    own, theta, step = matrices(momenta, WW), THETA[:couplings], 1e-4
    for i, direction in enumerate(step * np.eye(couplings)):
        above, below = (np.log(squared(own, theta + sign * direction)) for sign in (1, -1))
        found = joint_score(own, theta)[:, i]
        np.testing.assert_allclose(found, (above - below) / (2 * step), rtol=1e-6, atol=1e-9)


def test_lines_that_cannot_be_are_refused():
    momenta, _ = events(2)
    for flavours in ((2, 1, 2, 2), (2, 2, 1, 1), (2, 1, -2, 2)):
        with pytest.raises(ValueError, match="Expected quark lines .* in event 0"):
            matrices(momenta, flavours)
    with pytest.raises(ValueError, match="PDG codes of quarks"):
        matrices(momenta, (21, 1, 21, 1))
    with pytest.raises(ValueError, match="theta of 1 to 3 couplings"):
        squared(matrices(momenta, WW), np.zeros(4))
