"""Recipes that train chart and density together: what their objectives are, and that they learn."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.bijections import Affine, Chain, TriangularAffine
from flowjax.distributions import Normal, StandardNormal, Transformed
from tests.registry import SMALL, affine_couplings, furnished, key, placement

import mflows as mf
from mflows.charts import BijectionChart, Pad, Placement
from mflows.training import Batch, deflated_log_prob
from mflows.training.objectives import (
    Canonical,
    FreeForm,
    NoisyLikelihood,
    ReconstructionAndLikelihood,
)
from mflows.training.objectives.joint import shear
from mflows.training.objectives.reconstruction import scale_of
from mflows.volume import ConjugateGradient, Exact


@pytest.fixture(scope="module")
def flow() -> mf.Flow:
    """A surface in five dimensions, in scaled units."""
    chart = Pad(2, 5).then(affine_couplings(5)).then(placement(5))
    return mf.Flow(chart, StandardNormal((2,)))


@pytest.fixture(scope="module")
def batch() -> Batch:
    return Batch(jnp.asarray(np.random.default_rng(0).normal(size=(6, 5))), None)


def gradient(objective, flow, batch, random):
    return eqx.filter_jit(eqx.filter_grad(lambda f: objective(f, batch, random)))(flow)


def value(objective, flow, batch) -> float:
    return float(eqx.filter_jit(objective)(flow, batch, jr.key(0)))


def test_conjugate_gradients_train_as_exact_log_volumes_do(flow, batch):
    """In the mean over probes; the value leaves the log-volume out."""
    exact = ReconstructionAndLikelihood(3.0)
    rough = ReconstructionAndLikelihood(3.0, ConjugateGradient(probes=400, rtol=1e-8))
    expected, found = (gradient(o, flow, batch, jr.key(0)) for o in (exact, rough))
    expected, found = (jax.flatten_util.ravel_pytree(g)[0] for g in (expected, found))
    apart = jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected)

    def mean_volume(flow, batch, key):
        encode, volume = flow.chart.encode, Exact().log_volume
        return jax.vmap(lambda x: volume(flow.chart, encode(x)))(batch.x).mean()

    volumes = gradient(mean_volume, flow, batch, jr.key(0))
    missing = jnp.linalg.norm(jax.flatten_util.ravel_pytree(volumes)[0])
    assert apart < 0.1 * missing / jnp.linalg.norm(expected)

    values = [value(objective, flow, batch) for objective in (exact, rough)]
    np.testing.assert_allclose(values[0] - values[1], value(mean_volume, flow, batch), rtol=1e-8)
    judged = [value(objective.validate, flow, batch) for objective in (exact, rough)]
    np.testing.assert_allclose(judged, values[0], rtol=1e-10)


def test_the_shear_is_that_of_the_metric_in_scaled_units(flow, batch):
    u = flow.encode(batch.x)
    jacobian = jax.jit(jax.vmap(jax.jacfwd(flow.chart.decode)))
    jacobians = jacobian(u) / np.asarray(scale_of(flow))[:, None]
    metric = jnp.swapaxes(jacobians, 1, 2) @ jacobians
    found = eqx.filter_jit(shear)(flow, batch)
    np.testing.assert_allclose(found, 2 * jnp.abs(metric[:, 0, 1]), rtol=1e-8)
    both = value(ReconstructionAndLikelihood(2.0), flow, batch)
    canonical = value(Canonical(2.0, 3.0), flow, batch)
    np.testing.assert_allclose(canonical - both, 3 * found.mean(), rtol=1e-8)


def test_the_free_form_objective_is_reconstruction_and_latent_likelihood(batch):
    flow = furnished(mf.models.pae(key(1), (5,), 2, latent_layers=1, **SMALL))
    u = flow.encode(batch.x)
    error = jnp.square((batch.x - flow.decode(u)) / scale_of(flow)).mean()
    expected = 7 * error - flow.latent.log_prob(u).mean()
    np.testing.assert_allclose(value(FreeForm(7.0), flow, batch), expected, rtol=1e-8)
    judged = value(FreeForm(7.0).validate, flow, batch)
    np.testing.assert_allclose(judged, 7 * error - flow.log_prob(batch.x).mean(), rtol=1e-8)


STEPS = {"batch_size": 25, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def parabola() -> np.ndarray:
    """A sheared normal over a parabolic sheet."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 500))
    plane = np.stack([a, 0.5 * b + 0.8 * a], axis=1)
    return np.column_stack([plane, 0.3 * (plane**2).sum(1)])


def trained(flow: mf.Flow, points: np.ndarray, recipe) -> mf.Flow:
    return mf.fit(jr.key(1), flow, points, recipe, progress=False).flow


def assert_learned(flow: mf.Flow, points: np.ndarray, gap: float) -> None:
    """The manifold, and a density near that of a normal fitted to the first two coordinates."""
    assert np.asarray(flow.distance(points)).mean() < 0.06
    a, b = points[:, 0], points[:, 1]
    slope = 0.6 * points[:, :2]
    truth = (
        -(a**2) / 2
        - (b - 0.8 * a) ** 2 / 0.5
        - np.log(2 * np.pi * 0.5)
        - np.log1p((slope**2).sum(1)) / 2
    )
    assert abs((truth - np.asarray(flow.log_prob(points))).mean()) < gap


@pytest.fixture(scope="module")
def untrained() -> mf.Flow:
    layers = {"chart_layers": 3, "latent_layers": 2}
    return mf.models.m_flow(key(0), (3,), 2, **layers, width=16, affine=True)


@pytest.fixture(scope="module")
def rectangular(untrained, parabola) -> mf.Flow:
    recipe = mf.recipes.rectangular(25, **STEPS, weight=100.0)
    return trained(untrained, parabola, recipe)


def test_rectangular_flows_learn_manifold_and_density(rectangular, parabola):
    assert_learned(rectangular, parabola, 0.1)


def test_rectangular_flows_learn_by_probes_too(untrained, parabola):
    recipe = mf.recipes.rectangular(25, **STEPS, weight=100.0, probes=1)
    assert_learned(trained(untrained, parabola, recipe), parabola, 0.1)


def test_canonical_flows_straighten_their_coordinates(rectangular, parabola):
    _, together, _ = mf.recipes.canonical(45, **STEPS, weight=100.0, penalty=30.0)
    straight = trained(rectangular, parabola, [together])
    assert_learned(straight, parabola, 0.15)
    batch = Batch(jnp.asarray(parabola), None)
    before, after = (float(shear(flow, batch).mean()) for flow in (rectangular, straight))
    assert after < 0.6 * before


def test_free_form_flows_learn_manifold_and_density(parabola):
    flow = mf.models.pae(key(0), (3,), 2, latent_layers=2, **SMALL)
    recipe = mf.recipes.free_form(60, **STEPS)
    assert_learned(trained(flow, parabola, recipe), parabola, 0.1)


# Denoising -------------------------------------------------------------------------------------


def inflated_line(sigma: float, scale: float = 1.5) -> mf.Flow:
    """The exact density of a normal on a line in space with noise around it."""
    along = jnp.array([np.hypot(scale, sigma), sigma, sigma])
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    layers = Chain([Affine(jnp.zeros(3), along), Placement(np.zeros(3), np.ones(3), rotation.T)])
    return mf.Flow(BijectionChart(layers), StandardNormal((3,)))


def test_deflation_undoes_inflation_to_second_order_in_the_noise():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    position = jnp.linspace(-2, 2, 9)
    x = position[:, None] * rotation[:, 0]
    truth = Normal(0.0, 1.5).log_prob(position)
    errors = [
        jnp.abs(deflated_log_prob(inflated_line(sigma), x, sigma=sigma, latent_dim=1) - truth).max()
        for sigma in (0.1, 0.05)
    ]
    assert errors[0] < 0.01
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.01)


def test_denoising_learns_the_inflated_density():
    sigma, points = 0.1, np.random.default_rng(1).normal(size=(2000, 1)) * [[1.5, 0.75]]
    layers = Chain([TriangularAffine(jnp.zeros(2), jnp.eye(2)), Placement.identity(2)])
    flow = mf.Flow(BijectionChart(Placement.identity(2)), Transformed(StandardNormal((2,)), layers))
    recipe = mf.recipes.denoising(60, batch_size=100, learning_rate=3e-2, sigma=sigma)
    found = trained(flow, points, recipe)
    length = np.hypot(1.5, 0.75)
    truth = np.asarray(Normal(0.0, length).log_prob(points[:, 0] / 1.5 * length))
    model = deflated_log_prob(found, points, sigma=sigma, latent_dim=1)
    assert abs(float((truth - np.asarray(model)).mean())) < 0.05


@pytest.mark.parametrize("sigma", [0.0, -1.0])
def test_noise_has_to_be_positive(sigma):
    with pytest.raises(ValueError, match="Expected sigma > 0, a standard deviation; got"):
        NoisyLikelihood(sigma)


def test_deflation_asks_for_an_ambient_flow(flow):
    with pytest.raises(ValueError, match="Expected an ambient flow and 1 <= latent_dim < 5; got"):
        deflated_log_prob(flow, jnp.zeros(5), sigma=0.1, latent_dim=2)
