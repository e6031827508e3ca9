"""Every metric on a case with a known answer."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import Normal
from scipy.stats import norm

from mflows import Flow, metrics
from mflows.charts import Pad
from mflows.data import Data
from mflows.simulators import PolynomialSurface


@pytest.fixture
def plane():
    return Flow(Pad(2, 3), Normal(jnp.zeros(2)))


def test_reconstruction_error_of_a_plane_is_the_height(plane):
    x = np.zeros((101, 3))
    x[:, 2] = np.arange(101)
    found = metrics.reconstruction_error(plane, Data(x))
    assert found == {
        "reconstruction": pytest.approx(50),
        "reconstruction_q99": pytest.approx(99),
        "reconstruction_max": pytest.approx(100),
    }


def test_sample_distance_vanishes_on_the_surface_and_is_the_offset_beside_it():
    surface = PolynomialSurface()
    far_out = jnp.array([[30.0, 0.0], [0.0, 40.0]])  # where the surface is flat
    on = surface.embed(far_out)
    assert metrics.sample_distance(on, surface)["sample_distance"] < 1e-6
    moved = np.asarray(on) + 0.25 * _up(surface)
    found = metrics.sample_distance(moved, surface)
    assert found["sample_distance"] == pytest.approx(0.25, abs=1e-6)
    assert found["sample_distance_max"] == pytest.approx(0.25, abs=1e-6)


def _up(surface):
    """Direction of the height in space, from points of the flat far field."""
    o, a, b = (
        np.asarray(surface.embed(jnp.array(z))) for z in ((30.0, 0.0), (31.0, 0.0), (30.0, 1.0))
    )
    return np.cross(a - o, b - o)


def test_log_density_error_is_the_divergence_between_two_normals(plane):
    class Shifted:
        """A normal of mean 1 in the plane, whose divergence from the flow's is 1."""

        def log_prob(self, x, theta):
            return -0.5 * ((x[..., :2] - 1) ** 2).sum(-1) - jnp.log(2 * jnp.pi)

    x = np.pad(1 + np.asarray(jr.normal(jr.key(0), (200_000, 2))), ((0, 0), (0, 1)))
    data = Data(x, np.ones((len(x), 1)))
    found = metrics.log_density_error(plane, data, Shifted())
    assert found["log_density_gap"] == pytest.approx(1.0, abs=0.02)
    assert found["log_density_std"] == pytest.approx(np.sqrt(2), abs=0.02)


def test_log_density_error_needs_theta(plane):
    with pytest.raises(ValueError, match="condition theta"):
        metrics.log_density_error(plane, Data(np.eye(3)), PolynomialSurface())


def test_outlier_score_is_the_density_of_a_thickened_line():
    """Less its constant: of a normal line and noise of variance v across it, in the plane."""
    x = np.random.default_rng(0).normal(size=(5, 2))
    density = norm.logpdf(x[:, 0]) + norm.logpdf(x[:, 1], scale=0.3)
    found = metrics.outlier_score(norm.logpdf(x[:, 0]), np.abs(x[:, 1]), 0.3**2)
    np.testing.assert_allclose(-found + norm.logpdf(0, scale=0.3), density)


def test_outlier_auc_counts_ordered_pairs():
    assert metrics.outlier_auc([0.0, 1.0], [2.0, 3.0])["outlier_auc"] == 1
    assert metrics.outlier_auc([0.0, 2.0], [1.0, 3.0])["outlier_auc"] == 0.75
    assert metrics.outlier_auc([0.0, -np.inf], [np.inf, np.nan])["outlier_auc"] == 1
