"""SLCP against SciPy, grids of parameters and weighted draws from the prior."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import chi2, chisquare, kstest, multivariate_normal, t

from mflows.simulators import SLCP, HasLogProb, HasPosterior, Simulator, SLCPDistractors, named
from mflows.simulators.slcp import _least_variance, _propose_covariances, _propose_scales

SIMULATOR = SLCP()
HIDDEN = SLCPDistractors()


def covariance(theta: np.ndarray) -> np.ndarray:
    a, b, rho = theta[2] ** 2, theta[3] ** 2, np.tanh(theta[4])
    return np.array([[a**2, rho * a * b], [rho * a * b, b**2]]) + 1e-6 * np.eye(2)


def test_log_prob_is_that_of_scipy():
    theta = np.array(SIMULATOR.prior.sample(jr.key(0), (20,)))
    theta[0, 2:] = [0.05, -2.0, 3.0]
    theta[1, 3] = 0.0
    x = np.asarray(SIMULATOR.simulate(jr.key(1), theta))
    for one, at in zip(x, theta, strict=True):
        expected = multivariate_normal.logpdf(one.reshape(4, 2), at[:2], covariance(at)).sum()
        np.testing.assert_allclose(SIMULATOR.log_prob(one, at), expected, rtol=1e-8)
    score = jax.vmap(jax.grad(SIMULATOR.log_prob, argnums=1))(x, theta)
    assert jnp.isfinite(score).all()


def test_simulate_has_the_density_of_log_prob():
    theta = np.array([0.7, -2.9, -1.0, -0.9, 0.6])
    x = np.asarray(SIMULATOR.simulate(jr.key(2), jnp.broadcast_to(jnp.array(theta), (5000, 5))))
    points = x.reshape(-1, 2)
    np.testing.assert_allclose(points.mean(0), theta[:2], atol=0.03)
    np.testing.assert_allclose(np.cov(points.T), covariance(theta), atol=0.03)
    top = SIMULATOR.log_prob(np.tile(theta[:2], 4), theta)
    assert kstest(2 * (top - SIMULATOR.log_prob(x, theta)), chi2(8).cdf).pvalue > 1e-3


def observed(scales: tuple[float, float]) -> np.ndarray:
    """Four points at fixed places of their distribution."""
    normal = np.array([[0.5, 1.0], [-1.2, 0.2], [0.9, -0.7], [-0.1, -1.1]])
    factor = np.linalg.cholesky(covariance(np.array([0, 0, *scales, 0.8])))
    return (np.array([0.5, -1.0]) + normal @ factor.T).ravel()


@pytest.mark.parametrize("scales", [(0.02, 0.05), (0.03, 0.4), (0.3, 0.15)])
def test_posterior_is_that_of_a_grid_and_of_the_mean_given_the_covariance(scales):
    x = observed(scales)
    draws = np.asarray(SIMULATOR.posterior(jr.key(3), x, 5000))
    tops = [6 * max(scale, 0.03) for scale in scales]
    axes = [(np.arange(60) + 0.5) * top / 60 for top in tops]
    axes.append((np.arange(60) + 0.5) / 10 - 3)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    centred = np.concatenate([np.broadcast_to(x.reshape(4, 2).mean(0), (60, 60, 60, 2)), grid], -1)
    a, b, q = grid[..., 0] ** 4, grid[..., 1] ** 4, 1 / np.cosh(grid[..., 2]) ** 2
    log_f = SIMULATOR.log_prob(x, centred) + np.log(a * b * q + 1e-6 * (a + b + 1e-6)) / 2
    mass = np.asarray(jnp.exp(log_f - log_f.max()))
    shape = np.abs(draws[:, 2:]) * [1, 1, np.nan]
    shape[:, 2] = draws[:, 4]
    for axis, (low, high) in enumerate([(0, tops[0]), (0, tops[1]), (-3, 3)]):
        marginal = mass.sum(tuple({0, 1, 2} - {axis})).reshape(20, 3).sum(1)
        expected = len(draws) * marginal / marginal.sum()
        seen = np.histogram(shape[:, axis], bins=20, range=(low, high))[0]
        full = expected > 10
        rest = len(draws) - np.array([seen[full].sum(), expected[full].sum()]) + 1e-9
        test = chisquare(np.append(seen[full], rest[0]), np.append(expected[full], rest[1]))
        assert test.pvalue > 1e-3, axis
    assert (np.sign(draws[:, 2:4]).mean(0) ** 2 < 16 / 5000).all()
    factors = np.linalg.cholesky(np.array([covariance(theta) for theta in draws]) / 4)
    moved = draws[:, :2] - x.reshape(4, 2).mean(0)
    normal = np.linalg.solve(factors, moved[..., None])[..., 0]
    assert kstest(normal.ravel(), "norm").pvalue > 1e-3


def test_both_ways_to_draw_agree():
    x = jnp.asarray(observed((0.2, 0.1)))
    assert _least_variance(x) > 2e-6
    found = []
    for propose, batches in ((_propose_covariances, 1), (_propose_scales, 8)):
        both = [propose(key, x) for key in jr.split(jr.key(4), batches)]
        found.append(np.concatenate([np.asarray(theta)[np.asarray(kept)] for theta, kept in both]))
    assert min(len(draws) for draws in found) > 500
    for column in range(5):
        assert kstest(found[0][:, column], found[1][:, column]).pvalue > 1e-3


def test_posterior_of_wide_points_is_cut_off_at_the_prior():
    x = np.array([4.0, -6.0, -1.0, 2.0, 6.0, -1.0, 3.5, -5.0])
    draws = np.asarray(SIMULATOR.posterior(jr.key(5), x, 2000))
    assert np.abs(draws).max() <= 3
    shape = np.array(SIMULATOR.prior.sample(jr.key(6), (200_000,)))
    mean = x.reshape(4, 2).mean(0)
    shape[:, :2] = mean
    a, b, rho = shape[:, 2] ** 2, shape[:, 3] ** 2, np.tanh(shape[:, 4])
    normal = np.asarray(jr.normal(jr.key(7), (len(shape), 2))) / 2
    moved = np.stack(
        [a * normal[:, 0], b * (rho * normal[:, 0] + np.sqrt(1 - rho**2) * normal[:, 1])], -1
    )
    inside = (np.abs(mean + moved) <= 3).all(1)
    weight = inside * np.exp(SIMULATOR.log_prob(x, shape)) * a * b * np.sqrt(1 - rho**2)
    theta = np.concatenate([mean + moved, np.abs(shape[:, 2:4]), shape[:, 4:]], axis=1)
    drawn = np.concatenate([draws[:, :2], np.abs(draws[:, 2:4]), draws[:, 4:]], axis=1)
    effective = weight.sum() ** 2 / (weight**2).sum()
    assert effective > 1000
    for power in (1, 2):
        expected = np.average(theta**power, weights=weight, axis=0)
        spread = (drawn**power).std(0) * np.sqrt(1 / effective + 1 / len(drawn))
        assert (np.abs((drawn**power).mean(0) - expected) < 4.5 * spread).all()


def test_distractors_are_the_mixture_and_hide_slcp():
    theta = HIDDEN.prior.sample(jr.key(8), (2000,))
    x = HIDDEN.simulate(jr.key(9), theta)
    assert x.shape == (2000, 100)
    assert sorted(HIDDEN.order) == list(range(100))
    informative = HIDDEN.informative(x)
    top = SIMULATOR.log_prob(jnp.tile(theta[:, :2], 4), theta)
    distance = 2 * (top - SIMULATOR.log_prob(informative, theta))
    assert kstest(distance, chi2(8).cdf).pvalue > 1e-3
    distractors = np.asarray(x)[:, np.argsort(HIDDEN.order)[8:]]
    for place in (0, 40, 91):
        toward = np.asarray(HIDDEN.means)[:, place]
        wide = np.linalg.norm(np.asarray(HIDDEN.scales)[:, place], axis=-1)

        def cdf(value, toward=toward, wide=wide):
            return t(df=2).cdf((value[:, None] - toward) / wide).mean(1)

        assert kstest(distractors[:, place], cdf).pvalue > 1e-3
    draws = HIDDEN.posterior(jr.key(10), x[0], 3)
    np.testing.assert_array_equal(draws, SIMULATOR.posterior(jr.key(10), informative[0], 3))


def test_distractors_are_those_of_the_benchmark():
    """Numbers of sbibm's gmm.torch and permutation_idx.torch."""
    np.testing.assert_allclose(
        HIDDEN.means[0, :2], (7.45071229516849, -2.0739645175677697), rtol=1e-12
    )
    np.testing.assert_allclose(
        HIDDEN.scales[19, 91, :2], (0.07580650836815866, 2.6759725129965255), rtol=1e-12
    )
    assert HIDDEN.order[:5] == (87, 47, 39, 9, 25)


def test_shapes_and_capabilities():
    theta = SIMULATOR.prior.sample(jr.key(0), (3, 4))
    x = SIMULATOR.simulate(jr.key(1), theta)
    assert x.shape == (3, 4, 8)
    assert SIMULATOR.log_prob(x, theta).shape == (3, 4)
    np.testing.assert_allclose(
        SIMULATOR.log_prob(x, theta)[1, 2], SIMULATOR.log_prob(x[1, 2], theta[1, 2])
    )
    assert HIDDEN.simulate(jr.key(1), theta[0, 0]).shape == (100,)
    for capability in (Simulator, HasLogProb, HasPosterior):
        assert isinstance(named("slcp"), capability)
    assert isinstance(named("slcp-distractors"), Simulator)
    assert isinstance(HIDDEN, HasPosterior)
    assert not isinstance(HIDDEN, HasLogProb)


def test_refusals():
    with pytest.raises(ValueError, match=r"Expected theta of shape \(\.\.\., 5\).*got \(4,\)"):
        SIMULATOR.simulate(jr.key(0), jnp.zeros(4))
    with pytest.raises(ValueError, match=r"Expected x of shape \(\.\.\., 100\).*got \(8,\)"):
        HIDDEN.posterior(jr.key(0), jnp.zeros(8), 10)
    with pytest.raises(ValueError, match=r"Expected one point x of shape \(8,\); got \(2, 8\)"):
        SIMULATOR.posterior(jr.key(0), jnp.zeros((2, 8)), 10)
