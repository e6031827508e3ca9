"""Redundant observables against autodiff, quadrature and their own samples."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.stats import kstest, norm

from mflows.simulators import HasDistance, HasLogProb, HasPosterior, HasSurface, Simulator
from mflows.simulators.redundant import _ROTATION, RedundantObservables

OBSERVABLES = RedundantObservables()
THETA = jnp.array([0.4, -0.7])


def test_it_knows_its_truth():
    for kind in (Simulator, HasLogProb, HasPosterior, HasDistance, HasSurface):
        assert isinstance(OBSERVABLES, kind)


def test_density_is_that_of_the_causes_over_the_area_by_autodiff():
    x = OBSERVABLES.simulate(jr.key(0), jnp.tile(THETA, (5, 1)))
    z = OBSERVABLES.unembed(x)
    np.testing.assert_allclose(OBSERVABLES.embed(z), x, atol=1e-12)
    jacobian = jax.vmap(jax.jacfwd(OBSERVABLES.embed))(z)
    area = 0.5 * np.linalg.slogdet(np.swapaxes(jacobian, 1, 2) @ jacobian)[1]
    mean, width = OBSERVABLES.causes(THETA)
    expected = norm.logpdf(z, mean, width).sum(1) - area
    np.testing.assert_allclose(OBSERVABLES.log_prob(x, THETA), expected, atol=1e-10)


def test_causes_are_distributed_as_told():
    x = OBSERVABLES.simulate(jr.key(1), jnp.tile(THETA, (4000, 1)))
    mean, width = OBSERVABLES.causes(THETA)
    scaled = np.asarray((OBSERVABLES.unembed(x) - mean) / width)
    assert kstest(scaled.ravel(), "norm").pvalue > 0.01
    np.testing.assert_allclose(mean, [0.4, -0.7, -0.28])
    np.testing.assert_allclose(width, [0.3, 0.3, 0.24])


def test_posterior_is_that_of_the_density():
    x = OBSERVABLES.simulate(jr.key(3), jnp.tile(THETA, (4, 1)))
    drawn = OBSERVABLES.posterior(jr.key(4), x, 4000)
    proposed = OBSERVABLES.prior.sample(jr.key(5), (40_000,))
    log_weight = jax.vmap(lambda theta: OBSERVABLES.log_prob(x, theta).sum())(proposed)
    weight = np.exp(log_weight - log_weight.max())
    for moment in (lambda t: t, lambda t: (t - drawn.mean(0)) ** 2):
        expected = np.average(moment(proposed), axis=0, weights=weight)
        assert np.all(np.abs(moment(drawn).mean(0) - expected) < 0.01)
    assert np.abs(drawn).max() <= 1


def test_points_off_the_manifold_are_so_far_off():
    x = OBSERVABLES.simulate(jr.key(0), THETA)
    assert float(OBSERVABLES.distance(x)) < 1e-12
    off = _ROTATION[:, -1]
    np.testing.assert_allclose(OBSERVABLES.distance(x + 0.5 * off), 0.5)
