"""The sheet inside a pseudo-invertible encoder."""

import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import StandardNormal
from scipy.stats import multivariate_normal
from tests.registry import FLOWS, placement, turn_of

import mflows as mf
from mflows.charts import BijectionChart
from mflows.latents import Thickened

LINEAR = mf.Flow(BijectionChart(placement(3)), Thickened(StandardNormal((2,)), 3, noise=0.1))


def _columns() -> tuple[np.ndarray, np.ndarray]:
    layer = placement(3)
    return np.asarray(layer.mean.tree), np.asarray(layer.scale.tree)[:, None] * turn_of(layer)


def test_a_linear_one_is_a_flat_gaussian_and_its_sheet_a_degenerate_one():
    mean, columns = _columns()
    x = np.asarray(LINEAR.sample(jr.key(0), (20,)))
    ambient = columns @ np.diag([1, 1, 0.01]) @ columns.T
    np.testing.assert_allclose(
        LINEAR.log_prob(x), multivariate_normal(mean, ambient).logpdf(x), rtol=1e-8
    )
    sheet = mf.models.on_manifold(LINEAR)
    on = sheet.sample(jr.key(1), (20,))
    degenerate = multivariate_normal(mean, columns[:, :2] @ columns[:, :2].T, allow_singular=True)
    np.testing.assert_allclose(sheet.log_prob(on), degenerate.logpdf(on), rtol=1e-8)


def test_the_sheet_is_where_the_last_coordinates_are_zero():
    flow = FLOWS["pseudo-invertible encoder"]()
    sheet = mf.models.on_manifold(flow)
    x = flow.sample(jr.key(0), (10,))
    projected = sheet.project(x)
    u = np.asarray(flow.encode(x))
    np.testing.assert_allclose(sheet.encode(x), u[:, :1], atol=1e-12)
    np.testing.assert_allclose(flow.encode(projected), u * [1, 0], atol=1e-8)


def test_other_flows_have_no_sheet():
    with pytest.raises(TypeError, match=r"built by mflows.models.pie; got .* StandardNormal"):
        mf.models.on_manifold(FLOWS["ambient flow of a plane"]())
