"""Scores by which models of any dimension are compared."""

import pickle

import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import Normal
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold

from mflows import ManifoldFlow, estimator, systems
from mflows.charts import Circle, Pad, Placement
from mflows.estimator import neg_mmd, neg_reconstruction_error
from mflows.flow import Flow
from mflows.latents import torus_flow
from mflows.metrics import mmd, noise_variance, thickened_log_prob
from mflows.models import ambient_flow
from mflows.training.fit import Fitted

pytestmark = pytest.mark.filterwarnings("ignore::mflows.verdict.Doubt")

SMALL = {
    "epochs": 2,
    "chart_layers": 1,
    "latent_layers": 1,
    "bins": 3,
    "width": 4,
    "settings": {"affine": True},
    "validation_fraction": 0.0,
    "random_state": 0,
}
SETTINGS = {
    "m-flow": {"chart_layers": 1, "latent_layers": 1, "bins": 3, "affine": True},
    "me-flow": {"chart_layers": 1, "latent_layers": 1, "bins": 3, "affine": True},
    "af": {"layers": 1, "bins": 3},
    "pie": {"chart_layers": 1, "latent_layers": 1, "bins": 3, "affine": True},
    "fom": {"manifold": "sphere", "layers": 1, "bins": 3},
    "pae": {"latent_layers": 1, "bins": 3},
    "ripf": {"latent_layers": 1, "bins": 3},
}


def sheet(rows: int, seed: int = 0) -> np.ndarray:
    """Noise of .05 around a saddle."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-1, 1, size=(2, rows))
    return np.stack([a, b, a**2 - b**2], axis=1) + 0.05 * rng.normal(size=(rows, 3))


def plane(scale: np.ndarray, mean: np.ndarray) -> tuple[Flow, np.ndarray]:
    """A normal density on a plane in space, and the orthogonal matrix that turns to it."""
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    chart = Pad(2, 4).then(Placement(mean, scale, turn[:, :2].T))
    return Flow(chart, Normal(np.zeros(2), np.array([2.0, 0.5]))), turn


@pytest.fixture(scope="module")
def fitted() -> ManifoldFlow:
    return ManifoldFlow(1, **SMALL).fit(sheet(40))


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_on_a_plane_it_is_probabilistic_principal_component_analysis(unit):
    scale, mean = np.array([1.0, 1e-3, 1e4, 3.0]) * unit, np.array([1e9, 0, 3.0, -1]) * unit
    flow, turn = plane(scale, mean)
    covariance = turn @ np.diag([4.0, 0.25, 0.01, 0.01]) @ turn.T
    z = np.random.default_rng(2).multivariate_normal(np.zeros(4), covariance, size=50)
    expected = multivariate_normal(np.zeros(4), covariance).logpdf(z) - np.log(scale).sum()
    x = mean + scale * z
    found = thickened_log_prob(flow, x, scale=scale, noise_variance=0.01)
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    across = (x - mean) / scale @ turn[:, 2:]
    variance = noise_variance(flow, x, scale=scale)
    assert variance == pytest.approx(np.mean(across**2), rel=1e-4)
    likelihood = [
        thickened_log_prob(flow, x, scale=scale, noise_variance=variance * factor).mean()
        for factor in (0.9, 1.0, 1.1)
    ]
    assert likelihood[1] == max(likelihood)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (1.0, 0.6)])
def test_it_is_a_density_where_the_projection_is_oblique_too(scale):
    flow = Flow(Circle(), torus_flow(jr.key(0), 1, layers=1, bins=3, width=4))
    ticks, step = np.linspace(-2, 2, 201, retstep=True)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    density = thickened_log_prob(flow, grid, scale=np.array(scale), noise_variance=0.0025)
    total = np.exp(density).sum() * step**2
    assert total == pytest.approx(1, abs=0.01)


def test_other_units_shift_all_candidates_alike(fitted):
    x, held_out = sheet(40), sheet(30, seed=1)
    units = np.array([1.0, 1e6, 1e-3])
    for n in (1, 2):
        one, other = (clone(fitted).set_params(n_components=n).fit(x * u) for u in (1.0, units))
        shift = one.score(held_out) - other.score(held_out * units)
        assert shift == pytest.approx(np.log(units).sum(), abs=1e-4)
        assert one.noise_variance_ == pytest.approx(other.noise_variance_, rel=1e-4)


@pytest.mark.parametrize("model", [row.name for row in systems.SYSTEMS.values() if row.of == "x"])
def test_every_system_has_a_score(model, monkeypatch):
    monkeypatch.setattr(estimator, "fit", lambda key, flow, *_, **__: Fitted(flow, []))
    n = 1 if systems.system(model).takes_latent_dim else None
    untrained = ManifoldFlow(n, model=model, settings={"width": 4, **SETTINGS.get(model, {})})
    x = sheet(20)
    untrained.fit(x)
    assert np.isfinite(untrained.score(x))
    assert untrained.score(x) == untrained.score(x)
    thin = systems.system(model).density == "on the manifold"
    assert (untrained.noise_variance_ is not None) == thin
    assert np.isfinite(neg_mmd(untrained, x))


def test_it_is_the_density_of_blurred_rows(fitted):
    x = sheet(30, seed=2)
    noise = 0.01 * x.std(axis=0) * np.random.default_rng(0).normal(size=x.shape)
    fitted = clone(fitted).fit(x)
    given = {"scale": fitted.scale_, "noise_variance": fitted.noise_variance_}
    found = thickened_log_prob(fitted.flow_, x + noise, **given)
    assert fitted.score(x) == pytest.approx(found.mean())
    np.testing.assert_allclose(fitted.scale_, x.std(axis=0))


def test_a_constant_column_does_no_harm(fitted):
    x = sheet(40)
    for value in (0.0, 0.1):  # whose mean is off by rounding
        x[:, 1] = value
        assert np.isfinite(clone(fitted).fit(x).score(x))


@pytest.mark.slow
def test_a_grid_search_finds_the_known_dimension():
    x = sheet(300)
    small = {
        **SMALL,
        "epochs": 30,
        "chart_layers": 2,
        "settings": {},
        "width": 16,
        "learning_rate": 3e-3,
    }
    a = np.linspace(-1, 1, 300)
    curve = np.stack([a, a**2, np.sin(2 * a)], axis=1)
    curve += 0.05 * np.random.default_rng(1).normal(size=curve.shape)
    splits, dimensions = KFold(2, shuffle=True, random_state=0), {"n_components": [1, 2]}
    for rows, known in ((x, 2), (curve, 1)):
        search = GridSearchCV(ManifoldFlow(**small), dimensions, cv=splits, refit=False)
        assert search.fit(rows).best_params_ == {"n_components": known}


def test_other_scorers(fitted):
    x = sheet(20, seed=1)
    assert neg_reconstruction_error(fitted, x) == -fitted.reconstruction_error(x).mean()
    drawn = fitted.sample(20, random_state=0)
    found = mmd(drawn / fitted.scale_, x / fitted.scale_)
    assert neg_mmd(fitted, x) == pytest.approx(-found["mmd2"])


def test_errors(fitted):
    flow, _ = plane(np.ones(4), np.zeros(4))
    with pytest.raises(ValueError, match="Expected noise_variance > 0; got 0"):
        thickened_log_prob(flow, np.zeros((3, 4)), scale=np.ones(4), noise_variance=0)
    ambient = ambient_flow(jr.key(0), (3,), layers=1, bins=3, width=4)
    with pytest.raises(ValueError, match="n < 3; got n = 3. The density of an ambient flow is one"):
        noise_variance(ambient, np.zeros((3, 3)), scale=np.ones(3))
    with pytest.raises(NotFittedError, match="not fitted"):
        ManifoldFlow().score(sheet(5))
    old = pickle.loads(pickle.dumps(fitted))
    del old.scale_
    with pytest.raises(NotFittedError, match="stored before it had a score. Fit it again"):
        old.score(sheet(5))
