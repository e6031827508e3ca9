"""sbi samples the posterior of our likelihood, in the coordinates of our priors."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flowjax.bijections import AdditiveCondition, Scale
from flowjax.distributions import StandardNormal, Transformed
from sbi.utils import BoxUniform
from scipy import stats
from torch.distributions import biject_to

from mflows import Flow, inference
from mflows.charts import Pad
from mflows.inference import as_prior, log_posterior, to_sbi
from mflows.inference.sbi import TorchPrior

X = np.random.default_rng(0).normal(size=(4, 2))
PRIOR = stats.norm(0, 2)
LOW, HIGH = -0.3, 0.5


@pytest.fixture(scope="module")
def flow():
    """x = (3 u, 0) with u ~ N(theta, 1)."""
    latent = Transformed(StandardNormal((1,)), AdditiveCondition(lambda theta: theta, (1,), (1,)))
    return Flow(Pad(1, 2).then(Scale(jnp.array([3.0, 1.0]))), latent)


@pytest.fixture(scope="module")
def posterior(flow):
    prior = BoxUniform(torch.tensor([LOW]), torch.tensor([HIGH]))
    return to_sbi(flow, prior, X, num_chains=50, warmup_steps=20, init_strategy="proposal")


def test_slice_samples_are_of_the_posterior(posterior):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (sbi draws from it)
    samples = posterior.sample((1000,), show_progress_bars=False).numpy()
    centre, width = X[:, 0].mean() / 3, 1 / np.sqrt(len(X))
    bounds = (np.array([LOW, HIGH]) - centre) / width
    expected = stats.truncnorm(*bounds, centre, width)
    assert stats.kstest(samples[:, 0], expected.cdf).statistic < 0.05  # 1.6 / sqrt(1000)


def test_value_and_gradient_are_those_of_jax(flow):
    potential = to_sbi(flow, PRIOR, X).potential_fn
    theta = torch.linspace(-2, 2, 200, dtype=torch.float64)[:, None].requires_grad_()
    value = potential(theta)
    value.sum().backward()
    target = log_posterior(flow, X, PRIOR)
    expected = jax.vmap(jax.value_and_grad(target))(jnp.asarray(theta.detach().numpy()))
    assert np.allclose(value.detach(), expected[0])
    assert np.allclose(theta.grad, expected[1])
    assert not potential(theta, track_gradients=False).requires_grad


def test_other_points_can_be_observed(flow):
    posterior = to_sbi(flow, PRIOR, X)
    theta = torch.zeros(1, 1)
    first = posterior.potential(theta)
    other = posterior.potential(theta, x=torch.tensor(X[:1]))
    assert float(other) == pytest.approx(float(log_posterior(flow, X[:1], PRIOR)(jnp.zeros(1))))
    assert posterior.potential(theta) == first
    posterior.to("cpu")
    assert posterior.set_default_x(torch.tensor(X[:1])).potential(theta) == pytest.approx(other)


def test_chains_run_without_bounds():
    prior = TorchPrior(as_prior([stats.uniform(-1, 2), stats.multivariate_normal([0], [[4]])]))
    transform = biject_to(prior.support)
    z = torch.randn(20, 2, dtype=torch.float64)
    theta = transform(z)
    assert prior.support.check(theta).all()
    assert not prior.support.check(theta + 2).any()
    expected = stats.norm(0, 2).logpdf(theta[:, 1]) - np.log(2)
    assert np.allclose(prior.log_prob(theta), expected)
    assert torch.allclose(transform.inv(theta), z)
    slopes = [torch.autograd.functional.jacobian(transform, row[None])[0, :, 0] for row in z[:3]]
    expected = [torch.linalg.slogdet(slope).logabsdet for slope in slopes]
    assert torch.allclose(transform.log_abs_det_jacobian(z, theta)[:3], torch.stack(expected))


def test_draws_of_the_prior_follow_the_seed_of_torch(posterior):
    torch.manual_seed(1)
    first, second = posterior.proposal.sample((3,)), posterior.proposal.sample((3,))
    torch.manual_seed(1)
    assert torch.equal(posterior.proposal.sample((3,)), first)
    assert not torch.equal(first, second)


def test_errors_say_what_to_do(flow, posterior):
    with pytest.raises(NotImplementedError, match="a batch of observations. Use sample, not"):
        posterior.sample_batched((10,), x=torch.zeros(2, 2), num_chains=2)
    with pytest.raises(ValueError, match=r"Write x\[None\]"):
        to_sbi(flow, PRIOR, X[0])
    with pytest.raises(ValueError, match=r"prior of shape \(1,\)"):
        to_sbi(flow, [PRIOR, PRIOR], X)


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "mflows.inference.sbi")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'mflows\[sbi\]'"):
        _ = inference.to_sbi


def test_torch_is_imported_for_sbi_alone():
    code = (
        "import mflows, scipy.stats, sys; mflows.inference.as_prior(scipy.stats.norm(0, 1));"
        "print(*{'torch', 'sbi'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
