"""Events at any theta out of a pool: weights, scores, draws, and what is refused."""

import jax.random as jr
import numpy as np
import pytest
from typer.testing import CliRunner

from mflows import simulators
from mflows.cli import app
from mflows.simulators.physics.features import CONSTRAINTS, NAMES, check_features, violations
from mflows.simulators.physics.pool import REACH, UPPER, Pool, matrices
from mflows.simulators.physics.wbf_higgs import SHIPPED

THETA = np.array([2.0, -3.0])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The events that come with the library, from the command line."""
    path = tmp_path_factory.mktemp("events") / "higgs.npz"
    command = ["simulate", "wbf-higgs", "--events", str(SHIPPED), "--out", str(path)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert "at couplings of 5: 7" in done.output
    return path


@pytest.fixture(scope="module")
def pool(file) -> Pool:
    return Pool.load(file)


def mean(values, weights=None):
    """Weighted mean, and its error."""
    weights = np.ones(len(values)) if weights is None else weights
    value = np.average(values, axis=0, weights=weights)
    off = (values - value) * (weights / weights.mean()).reshape(-1, *[1] * (values.ndim - 1))
    return value, off.std(axis=0) / np.sqrt(len(values))


@pytest.mark.parametrize(
    "theta", [(1.0, 0.0), (-3.0, 0.0), (0.0, 4.0), (2.0, -2.0), (1.0, 1.0, 1.0)]
)
def test_ratios_have_the_mean_one_and_scores_the_mean_zero(pool, theta):
    """On one half of the pool, with the rate of the other."""
    first, second = pool.split(0.5, 0.5)
    judged = Pool(second.x, second.matrices, Pool(first.x, first.matrices).rate)
    ratio = judged.ratio(theta)
    rate_error = mean(Pool(first.x, first.matrices).ratio(theta))[1]
    average, error = mean(ratio)
    assert average == pytest.approx(1, abs=4 * np.hypot(error, rate_error))
    assert 0.001 < error < 0.2
    score, error = mean(ratio[:, None] * judged.joint_score(theta))
    assert (np.abs(score) < 4 * np.sqrt(2) * error).all()
    assert abs(judged.rate[0, 1]) > 0.02  # the rate does depend on theta


def test_scores_are_derivatives_of_log_ratios(pool):
    step, few = 1e-4, pool.at(np.arange(50))
    for i, direction in enumerate(step * np.eye(2)):
        above, below = (np.log(few.ratio(THETA + sign * direction)) for sign in (1, -1))
        np.testing.assert_allclose(
            few.joint_score(THETA)[:, i], (above - below) / (2 * step), rtol=1e-5, atol=1e-8
        )
    each = np.tile(THETA, (50, 1))
    np.testing.assert_allclose(few.ratio(each), few.ratio(THETA))
    np.testing.assert_allclose(few.joint_score(each), few.joint_score(THETA))


def test_draws_follow_the_weights(pool):
    theta = np.array([4.0, 0.0])
    rows = pool.draw(jr.key(0), theta, 1000)
    hard = np.log(pool.x[:, NAMES.index("pT(j1)")])
    expected, error = mean(hard, pool.ratio(theta))
    assert hard[rows].mean() == pytest.approx(expected, abs=4 * hard.std() / np.sqrt(1000))
    assert expected - hard.mean() > 5 * error  # jets are harder at c_W = 4
    assert pool.effective(theta) == pytest.approx(0.86, abs=0.01)
    assert len(np.unique(pool.draw(jr.key(0), np.zeros(2), 2000))) == 2000
    np.testing.assert_array_equal(rows, pool.draw(jr.key(0), theta, 1000))


def test_simulated_events_bring_their_joint_score(pool):
    assert isinstance(pool, simulators.Simulator)
    assert isinstance(pool, simulators.HasJointScore)
    theta = np.array([[[0.0, 0.0], THETA], [THETA, [0.0, 0.0]], [THETA, [1.0, 1.0]]])
    x, score = pool.simulate_with_joint_score(jr.key(1), theta)
    assert x.shape == (3, 2, 40)
    np.testing.assert_array_equal(x, pool.simulate(jr.key(1), theta))
    for at in np.ndindex(3, 2):
        row = int(np.flatnonzero((pool.x == np.asarray(x[at])).all(axis=1))[0])
        expected = pool.at(np.array([row])).joint_score(theta[at])[0]
        np.testing.assert_allclose(score[at], expected)


def test_pairs_follow_the_joint_density(pool):
    """Means by weight are means over the prior of means by ratio; no event is there twice."""
    pairs = pool.paired(jr.key(2))
    np.testing.assert_array_equal(pairs.x, pool.x)
    np.testing.assert_allclose(pairs.joint_score, pool.joint_score(pairs.theta))
    assert pairs.weight.mean() == pytest.approx(1)
    for power, expected in ((1, 0.0), (2, REACH**2 / 3)):
        found, error = mean(pairs.theta**power, pairs.weight)
        np.testing.assert_array_less(np.abs(found - expected), 4 * error)
    hard = np.log(pool.x[:, NAMES.index("pT(j1)")])
    found, error = mean(hard * pairs.theta[:, 0], pairs.weight)
    grid = np.linspace(-REACH, REACH, 11)
    each = [np.average(hard, weights=pool.ratio([a, b])) * a for a in grid for b in grid]
    weights = np.outer(*[np.r_[0.5, np.ones(9), 0.5]] * 2).ravel()
    assert found == pytest.approx(np.average(each, weights=weights), abs=4 * error)


def test_parts_have_no_event_in_common_and_one_rate(pool):
    parts = pool.split(0.5, 0.25, 0.2)
    assert [*map(len, parts)] == [2000, 1000, 800]
    firsts = np.concatenate([part.x[:, 0] for part in parts])
    assert len(np.unique(firsts)) == len(firsts)
    assert all(part.rate is pool.rate for part in parts)
    for wrong in ((0.5, 0.6), (0.5, 0.0)):
        with pytest.raises(ValueError, match="parts above 0 of a sum of at most 1"):
            pool.split(*wrong)


def test_theta_beyond_the_pool_is_refused(pool):
    with pytest.raises(
        ValueError, match=r"within the reach.*leave \d+% of 4,000 events. Take a theta"
    ):
        pool.draw(jr.key(0), [30.0, 0.0], 1)
    with pytest.raises(
        ValueError, match=r"at most 4,000 events; got 4,001: at theta = \[0.0, 0.0\]"
    ):
        pool.draw(jr.key(0), [0.0, 0.0], 4001)
    with pytest.raises(ValueError, match="random key"):
        pool.paired(0)
    with pytest.raises(ValueError, match="at least one event"):
        pool.draw(jr.key(0), [0.0, 0.0], 0)
    with pytest.raises(ValueError, match=r"theta of shape \(..., 2\) for Pool"):
        pool.simulate(jr.key(0), np.zeros((3, 1)))


def test_what_is_no_pool_is_refused(pool, tmp_path):
    np.savez(tmp_path / "other.npz", x=pool.x)
    with pytest.raises(ValueError, match="of mflows simulate wbf-higgs.*got none of components"):
        Pool.load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"events in a file .npz; got .*other.h5"):
        Pool.load(tmp_path / "other.h5")
    with pytest.raises(ValueError, match="a matrix for each of the 4000 events"):
        Pool(pool.x, pool.matrices[:5])
    np.testing.assert_array_equal(matrices(pool.matrices[:, *UPPER]), pool.matrices)


def test_features_obey_26_identities_and_in_another_order_they_do_not(pool):
    assert len(CONSTRAINTS) == len({*CONSTRAINTS}) == 26
    assert violations(pool.x).max() < 1e-9
    check_features(pool.x.astype(np.float32))
    off = pool.x.copy()
    off[:, NAMES.index("m(jj)")] += 2.0
    broken = violations(off) > 1e-3
    assert [name for name, bad in zip(CONSTRAINTS, broken.T, strict=True) if bad.any()] == [
        "mass shell of jj"
    ]
    swapped = pool.x.copy()
    swapped[:, [1, 2]] = swapped[:, [2, 1]]  # px and py of a photon: pT does not see it
    for wrong in (swapped, pool.x[:, ::-1], 1e-3 * pool.x, off):
        with pytest.raises(
            ValueError, match=r"order E\(a1\).*break the identity '.*' in [\d,]+ of 4,000"
        ):
            check_features(wrong)
    missing = pool.x.copy()
    missing[7, 3] = np.nan
    with pytest.raises(ValueError, match=r"got nan for pz\(a1\) in row 7 \(1 of 4000 rows\)"):
        Pool.of({"x": missing, "components": pool.matrices[:, *UPPER]})
    with pytest.raises(ValueError, match=r"40 features of events, \(N, 40\); got \(4000, 39\)"):
        check_features(pool.x[:, 1:])
