"""Events, the detector and the features; parts from the cache."""

import subprocess
import sys

import numpy as np
import pytest

from mflows import simulators
from mflows.simulators.physics import detector, generator, matrix_element, wbf_higgs
from mflows.simulators.physics.features import (
    NAMES,
    features,
    four_momenta,
    invariant_squared,
    pseudorapidity,
    transverse,
)
from mflows.simulators.physics.pool import matrices


@pytest.fixture(scope="module")
def events() -> generator.Events:
    return generator.generate(300, 3)


def test_generating_prints_nothing():
    code = (
        "from mflows.simulators.physics import generator\n"
        "print(len(generator.generate(1, 3).jets))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_features_are_those_of_the_momenta(events):
    x = features(events.photons, events.jets)
    assert x.shape == (300, 40)
    assert len(NAMES) == len({*NAMES}) == 40
    named = dict(zip(NAMES, x.T, strict=True))
    for pair, one, two in (("aa", "a1", "a2"), ("jj", "j1", "j2")):
        for quantity in ("E", "px", "py", "pz"):
            total = named[f"{quantity}({one})"] + named[f"{quantity}({two})"]
            np.testing.assert_allclose(named[f"{quantity}({pair})"], total, atol=1e-9)
        apart = named[f"eta({one})"] - named[f"eta({two})"]
        np.testing.assert_allclose(named[f"delta_eta({pair})"], apart)
        assert (named[f"pT({one})"] >= named[f"pT({two})"]).all()
    for thing in ("a1", "j2", "jj"):
        size = np.hypot(named[f"pT({thing})"], named[f"pz({thing})"])
        np.testing.assert_allclose(size * np.tanh(named[f"eta({thing})"]), named[f"pz({thing})"])
    np.testing.assert_allclose(named["E(a2)"], named["pT(a2)"] * np.cosh(named["eta(a2)"]))
    mass2 = named["E(jj)"] ** 2 - named["pT(jj)"] ** 2 - named["pz(jj)"] ** 2
    np.testing.assert_allclose(named["m(jj)"] ** 2, mass2, rtol=1e-8)
    photons, jets = four_momenta(x)
    np.testing.assert_array_equal(photons, events.photons)
    np.testing.assert_array_equal(jets, events.jets)


def test_features_lie_on_fourteen_dimensions(events):
    """Rank of the derivatives by the photons' momenta, and the jets' energies and momenta."""

    def of(z):
        photons = z[:, :6].reshape(-1, 2, 3)
        energy = np.sqrt((photons**2).sum(-1, keepdims=True))
        return features(np.concatenate([energy, photons], -1), z[:, 6:].reshape(-1, 2, 4))

    z = np.concatenate([events.photons[..., 1:].reshape(-1, 6), events.jets.reshape(-1, 8)], axis=1)
    z, step = z[:50], 1e-4
    columns = [(of(z + e) - of(z - e)) / (2 * step) for e in step * np.eye(14)]
    singular = np.linalg.svd(np.stack(columns, axis=-1), compute_uv=False)
    assert (singular[:, 13] > 1e-3).all()
    x = features(events.photons, events.jets)
    assert np.linalg.matrix_rank(x - x.mean(0), tol=1e-6) > 14  # but they are no plane


def test_the_detector_blurs_energies_and_directions_and_keeps_masses():
    rng = np.random.default_rng(0)
    momenta = np.array([[[100.0, 30, 40, 80], [60, -40, 0, 30]]]) + np.zeros((20_000, 1, 1))
    found = detector.smeared(rng, momenta, 0.1, 0.02)
    assert (transverse(found)[:, 0] >= transverse(found)[:, 1]).all()
    first = found[np.arange(len(found)), np.argmax(found[..., 1] > 0, axis=1)]
    assert first[:, 0].mean() == pytest.approx(100, abs=0.3)
    assert first[:, 0].std() == pytest.approx(10, rel=0.03)
    assert pseudorapidity(first).std() == pytest.approx(0.02, rel=0.03)
    assert np.arctan2(first[:, 2], first[:, 1]).std() == pytest.approx(0.02, rel=0.03)
    ratio = invariant_squared(first) / first[:, 0] ** 2
    np.testing.assert_allclose(ratio, invariant_squared(momenta[0, 0]) / 100**2)


def test_events_pass_the_cuts_and_come_from_higgs_bosons(events):
    assert detector.accepted(events.photons, events.jets).all()
    assert 300 < events.tried < 1500
    mass = np.sqrt(invariant_squared(events.photons.sum(axis=1)))
    assert mass.mean() == pytest.approx(125, abs=0.5)
    assert 0.5 < mass.std() < 3  # of 1.5% in the energy of either photon
    beams, quarks = events.quarks[:, :2], events.quarks[:, 2:]
    np.testing.assert_allclose(beams[..., 1:3], 0)
    higgs = np.sqrt(invariant_squared(beams.sum(axis=1) - quarks.sum(axis=1)))
    np.testing.assert_allclose(higgs, 125, atol=1)


def test_weights_are_those_that_are_known(events):
    """Means over 4,000 events: E[ratio] at c_W = 5 is 1.33, the mean score of c_W .054."""
    own = matrix_element.components(events.quarks, events.flavours)
    ratio = matrix_element.squared(own, np.array([5.0])) / own[:, 0, 0]
    assert ratio.mean() == pytest.approx(1.3, abs=0.2)
    score = matrix_element.joint_score(own, np.zeros(2))
    assert score.mean(axis=0) == pytest.approx([0.053, 0], abs=0.02)
    jets = np.take_along_axis(events.jets, np.argsort(-events.jets[..., 3:], axis=1), axis=1)
    phi = np.arctan2(jets[..., 2], jets[..., 1])
    assert np.corrcoef(np.sin(phi[:, 0] - phi[:, 1]), score[:, 1])[0, 1] > 0.35


def test_parts_come_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(wbf_higgs, "PART", 50)
    source = simulators.named("wbf-higgs")
    assert isinstance(source, simulators.Generator)
    assert source.parts(101, 7) == [(7, 0), (7, 1), (7, 2)]
    made = source.part(7, 1)
    other = source.part(7, 0)
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    again = source.part(7, 1)
    assert {name: len(array) for name, array in made.items()} == dict.fromkeys(made, 50)
    for name, array in made.items():
        np.testing.assert_array_equal(again[name], array)
    assert not np.isin(made["x"][:, 0], other["x"][:, 0]).any()
    found = matrices(made["components"])
    np.testing.assert_array_equal(found, found.swapaxes(1, 2))
    np.testing.assert_array_equal(found[:, 0], made["components"][:, :4])
    changed = made["flavours"][:, 0] != made["flavours"][:, 2]
    np.testing.assert_array_equal(made["channel"], np.where(changed, 24, 23))
    (damaged,) = (tmp_path / "mflows" / "wbf-higgs").glob("*-7-0.npz")
    damaged.write_bytes(damaged.read_bytes()[:100])
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(wbf_higgs, "PART", 50)
    np.testing.assert_array_equal(source.part(7, 0)["x"], other["x"])
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'mflows\[physics\]'"):
        source.part(8, 0)


def test_hadrons_are_asked_for_by_name(events):
    source = simulators.named("wbf-higgs+hadrons")
    assert source.hadrons
    assert not simulators.named("wbf-higgs").hadrons
    with pytest.raises(ValueError, match=r"settings of 'wbf-higgs' out of hadrons; got 'quarks'"):
        simulators.named("wbf-higgs+quarks")
    with pytest.raises(ValueError, match="settings of 'swiss-roll' to be none; got 'hadrons'"):
        simulators.named("swiss-roll+hadrons")
    with_them = generator.generate(10, 1, hadrons=True)
    assert detector.accepted(with_them.photons, with_them.jets).all()
    assert 10 < with_them.tried <= 1000
    assert {*generator.settings(hadrons=False)} - {*generator.settings(hadrons=True)} == {
        *generator.PARTONS
    }
    sizes = [invariant_squared(each.jets).mean() for each in (with_them, events)]
    assert sizes[0] > sizes[1]  # jets of hadrons, and of other partons, have more mass
