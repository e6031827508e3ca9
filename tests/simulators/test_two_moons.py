"""Two moons against quadrature, its own samples and a grid of parameters."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jaxtyping import ArrayLike
from scipy.stats import chisquare, kstest

from mflows.simulators import HasLogProb, HasPosterior, Simulator, TwoMoons, named, simulator

MOONS = TwoMoons()
THETAS = ((0.3, -0.5), (-0.7, -0.2))


def centres(low: float, high: float, cells: int) -> np.ndarray:
    """Centres of the cells of a square grid, shape (cells, cells, 2)."""
    axis = low + (np.arange(cells) + 0.5) * (high - low) / cells
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)


def p_value(draws: ArrayLike, low: float, high: float, bins: int, density: np.ndarray) -> float:
    """Of a chi-squared test of draws against a density at the centres of finer cells."""
    draws = np.asarray(draws)
    part = len(density) // bins
    mass = density.reshape(bins, part, bins, part).sum((1, 3))
    edges = np.linspace(low, high, bins + 1)
    seen = np.histogram2d(*draws.T, bins=edges)[0]
    expected = len(draws) * mass / mass.sum()
    full = expected > 10
    seen, expected = (
        np.append(part[full], len(draws) - part[full].sum() + 1e-9) for part in (seen, expected)
    )
    return chisquare(seen, expected).pvalue


@pytest.mark.parametrize("theta", THETAS)
def test_simulate_has_the_density_of_log_prob_which_integrates_to_one(theta):
    middle = -abs(sum(theta)) / np.sqrt(2) + 0.25, (theta[1] - theta[0]) / np.sqrt(2)
    grid = centres(-0.2, 0.2, 480)
    density = np.exp(np.asarray(MOONS.log_prob(grid + middle, theta)))
    assert density.sum() * (0.4 / 480) ** 2 == pytest.approx(1, abs=1e-6)
    x = MOONS.simulate(jr.key(0), jnp.broadcast_to(jnp.array(theta), (20_000, 2)))
    assert p_value(x - np.array(middle), -0.2, 0.2, 24, density) > 1e-3
    shifted = x - np.array(middle) + 2e-3
    assert p_value(shifted, -0.2, 0.2, 24, density) < 1e-3, "the test must tell a slight shift"


def test_radius_and_angle_are_those_of_the_benchmark():
    x = np.asarray(MOONS.simulate(jr.key(1), jnp.zeros((5000, 2)))) - [0.25, 0]
    assert kstest(np.hypot(*x.T), "norm", (0.1, 0.01)).pvalue > 1e-3
    assert kstest(np.arctan2(x[:, 1], x[:, 0]), "uniform", (-np.pi / 2, np.pi)).pvalue > 1e-3


def test_log_prob_is_finite_with_finite_gradients_off_the_crescent():
    theta = centres(-3, 3, 20).reshape(-1, 2)
    x = jnp.array([-0.1, 0.07])
    assert jnp.isfinite(MOONS.log_prob(x, theta)).all()
    assert jnp.isfinite(jax.vmap(jax.grad(lambda t: MOONS.log_prob(x, t)))(theta)).all()
    behind = MOONS.log_prob(jnp.array([0.15, 0.0]), jnp.zeros(2))
    ahead = MOONS.log_prob(jnp.array([0.35, 0.0]), jnp.zeros(2))
    assert ahead - behind == pytest.approx(200, rel=1e-9)


@pytest.mark.parametrize(
    "theta", [(0.3, -0.5), (0.02, -0.04), (0.97, -0.8)], ids=["whole", "cut at s = 0", "at a side"]
)
def test_posterior_is_the_normalised_likelihood(theta):
    x = MOONS.simulate(jr.key(2), theta)
    draws = MOONS.posterior(jr.key(3), x, 10_000)
    assert draws.shape == (10_000, 2)
    density = np.exp(np.asarray(MOONS.log_prob(x, centres(-1, 1, 1000))))
    assert p_value(draws, -1, 1, 40, density) > 1e-3
    assert p_value(draws + 5e-3, -1, 1, 40, density) < 1e-3, "the test must tell a slight shift"


def test_shapes_and_keys():
    theta = MOONS.prior.sample(jr.key(0), (3, 4))
    x = MOONS.simulate(jr.key(1), theta)
    assert x.shape == (3, 4, 2)
    assert MOONS.log_prob(x, theta).shape == (3, 4)
    np.testing.assert_allclose(MOONS.log_prob(x, theta)[1, 2], MOONS.log_prob(x[1, 2], theta[1, 2]))
    draws = MOONS.posterior(jr.key(2), x[0, 0], 5)
    assert (draws == MOONS.posterior(jr.key(2), x[0, 0], 5)).all()
    assert not (draws == MOONS.posterior(jr.key(3), x[0, 0], 5)).any()
    for capability in (Simulator, HasLogProb, HasPosterior):
        assert isinstance(named("two-moons"), capability)


def test_refusals(monkeypatch):
    monkeypatch.setattr(simulator, "_PATIENCE", 1 << 16)
    with pytest.raises(ValueError, match=r"Expected theta of shape \(\.\.\., 2\).*got \(3,\)"):
        MOONS.simulate(jr.key(0), jnp.zeros(3))
    with pytest.raises(ValueError, match=r"Expected one point x of shape \(2,\); got \(4, 2\)"):
        MOONS.posterior(jr.key(0), jnp.zeros((4, 2)), 10)
    with pytest.raises(ValueError, match="Kept 0 of 65536 draws .* Was it drawn by this sim"):
        MOONS.posterior(jr.key(0), jnp.array([3.0, 0.0]), 10)
