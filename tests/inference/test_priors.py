"""Priors of SciPy, torch and sbi have the density and the support of their FlowJAX equivalents."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import torch
from flowjax.distributions import Normal, StandardNormal, Uniform
from paramax import unwrap
from sbi.utils import BoxUniform, MultipleIndependent, process_prior
from scipy import stats
from tests.inference.known import LINEAR, OBSERVED
from tests.registry import key
from torch import distributions as td

from mflows.inference import as_prior, log_posterior, support

COVARIANCE = np.array([[1.0, 0.3], [0.3, 2.0]])
SCIPY = {
    "beta": stats.beta(2, 3, loc=-1, scale=4),
    "cauchy": stats.cauchy(1, 2),
    "expon": stats.expon(loc=-2, scale=0.5),
    "gamma": stats.gamma(3, loc=1, scale=2),
    "gumbel_r": stats.gumbel_r(1, 2),
    "laplace": stats.laplace(1, 2),
    "logistic": stats.logistic(1, 2),
    "lognorm": stats.lognorm(0.7, loc=-1, scale=2),
    "loguniform": stats.loguniform(0.01, 10, scale=2),
    "norm": stats.norm(loc=[0, 1], scale=[1, 2]),
    "t": stats.t(3, 1, 2),
    "uniform": stats.uniform([-1, 2], 3),
}


def _t(*values):
    return torch.tensor(values, dtype=torch.float64)


TORCH = {
    "Beta": td.Beta(_t(2), _t(3)),
    "Cauchy": td.Cauchy(_t(1), _t(2)),
    "Exponential": td.Exponential(_t(2)),
    "Gamma": td.Gamma(_t(3), _t(2)),
    "Gumbel": td.Gumbel(_t(1), _t(2)),
    "Laplace": td.Laplace(_t(1), _t(2)),
    "LogNormal": td.LogNormal(_t(1), _t(0.7)),
    "Normal": td.Normal(torch.tensor(1.0, dtype=torch.float64), 2.0),
    "StudentT": td.StudentT(_t(3), _t(1), _t(2)),
    "Uniform": td.Uniform(_t(-1, 2), _t(1, 5)),
    "MultivariateNormal": td.MultivariateNormal(_t(0, 1), torch.tensor(COVARIANCE)),
    "Independent": td.Independent(td.Gamma(_t(3, 1), _t(2, 2)), 1),
    "BoxUniform": BoxUniform(_t(-1, 2), _t(1, 5)),
    "MultipleIndependent": MultipleIndependent(
        [td.Uniform(_t(-1), _t(1)), td.MultivariateNormal(_t(0, 1), torch.tensor(COVARIANCE))]
    ),
    "PytorchReturnTypeWrapper": process_prior(BoxUniform(_t(-1, 2), _t(1, 5)))[0],
}


@eqx.filter_jit
def _log_prob(found, theta):
    return found.log_prob(theta)


@eqx.filter_jit
def _draws(found):
    return found.sample(key(1), (20,))


def _theta(found) -> np.ndarray:
    """Points that the prior may or may not reach: normal ones of any size, and draws from it."""
    return np.concatenate([_spread(found, 0), _draws(found)])


def _spread(found, seed: int) -> np.ndarray:
    return 3 * np.random.default_rng(seed).normal(size=(20, *found.shape))


@eqx.filter_jit
def _there_and_back(found, theta, z):
    """Every theta by way of its z, and the log density of what any z reaches."""
    bijection = unwrap(support(found))
    reached = jax.vmap(bijection.transform)(z)
    back = jax.vmap(lambda theta: bijection.transform(bijection.inverse(theta)))(theta)
    return back, found.log_prob(reached)


def _assert_keeps_bounds(found, theta, log_prob):
    """Every z is a theta with density, and comes back; so does every theta with density."""
    inside = np.isfinite(log_prob)
    back, reached = _there_and_back(found, theta, _spread(found, 2))
    assert np.allclose(back[inside], theta[inside])
    assert np.isfinite(reached).all()


@pytest.mark.parametrize("name", SCIPY)
def test_a_scipy_prior_has_the_same_density(name):
    found = as_prior(SCIPY[name])
    theta = _theta(found)
    expected = SCIPY[name].logpdf(theta).sum(-1)
    assert np.allclose(_log_prob(found, theta), expected, rtol=1e-10)
    _assert_keeps_bounds(found, theta, expected)


@pytest.mark.parametrize("name", TORCH)
def test_a_torch_prior_has_the_same_density(name):
    prior = TORCH[name]
    found = as_prior(prior)
    theta = _theta(found)
    value = torch.from_numpy(theta if prior.batch_shape or prior.event_shape else theta[:, 0])
    inside = prior.support.check(value).reshape(len(theta), -1).all(-1)
    expected = np.full(len(theta), -np.inf)  # outside, torch raises
    expected[inside] = prior.log_prob(value[inside]).reshape(inside.sum(), -1).sum(-1)
    assert np.allclose(_log_prob(found, theta), expected, rtol=1e-6)
    _assert_keeps_bounds(found, theta, expected)


def test_a_multivariate_normal_of_scipy_has_the_same_density():
    prior = stats.multivariate_normal([0, 1], COVARIANCE)
    found = as_prior(prior)
    theta = _theta(found)
    assert np.allclose(_log_prob(found, theta), prior.logpdf(theta))


def test_priors_in_a_list_are_independent():
    found = as_prior([stats.uniform(0, 2), Normal(jnp.array(1.0)), TORCH["BoxUniform"]])
    assert found.shape == (4,)
    theta = found.sample(jr.key(0), (5,))
    expected = stats.uniform(0, 2).logpdf(theta[:, 0]) + stats.norm(1).logpdf(theta[:, 1])
    assert np.allclose(_log_prob(found, theta), expected - np.log(2) - np.log(3))
    assert np.all(found.log_prob(theta.at[:, 3].set(9.0)) == -np.inf)
    assert len(np.unique(theta)) == 20
    _assert_keeps_bounds(found, np.asarray(theta), expected)


def test_a_flowjax_prior_is_itself():
    prior = Uniform(-jnp.ones(2), jnp.ones(2))
    assert as_prior(prior) is prior


def test_a_posterior_takes_any_of_them():
    target = log_posterior(LINEAR, OBSERVED, [stats.uniform(-1, 2)] * 2)
    known = log_posterior(LINEAR, OBSERVED, Uniform(-jnp.ones(2), jnp.ones(2)))
    z = jnp.array([0.3, -1.2])
    assert target.unconstrained(z) == pytest.approx(float(known.unconstrained(z)))


class Own(td.Normal):
    """A distribution that only its author knows."""


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (stats.poisson(3), "got poisson of scipy"),
        (stats.norm, "got norm_gen, which is not frozen, of scipy"),
        (td.Weibull(_t(1), _t(1)), "got Weibull of torch"),
        (Own(_t(0), _t(1)), "got Own of tests"),
        ([(0, 1), (2, 3)], "got int of builtins"),
        (None, "a frozen one of scipy.stats .*got NoneType of builtins.*Write it in FlowJAX"),
    ],
)
def test_what_is_not_known_is_a_type_error(prior, message):
    with pytest.raises(TypeError, match=message):
        as_prior(prior)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (Normal(0.0), r"got shape \(\) and condition None\. Write \[prior\]"),
        (StandardNormal((2, 2)), r"got shape \(2, 2\) and condition None\.$"),
        ([StandardNormal((2, 2))], r"in the list; got one shape \(2, 2\)"),
        ([], "in the list; got none"),
        (stats.norm(np.zeros((2, 2))), r"got parameters of shape \(2, 2\)"),
        (stats.norm(0, -1), r"Expected parameters of a distribution; got norm with \(0, -1\)"),
        (stats.multivariate_normal([0, 1], np.ones((2, 2)), True), "positive definite"),
        (td.MultivariateNormal(torch.zeros(3, 2), torch.eye(2)), r"a mean of shape \(3, 2\)"),
    ],
)
def test_a_wrong_shape_or_parameter_is_a_value_error(prior, message):
    with pytest.raises(ValueError, match=message):
        as_prior(prior)
