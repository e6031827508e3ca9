"""What holds for every chart and every layer of the registry."""

import numpy as np
import pytest
from tests.registry import CHARTS

TIGHT = {"rtol": 1e-8, "atol": 1e-8}


def test_encoding_undoes_decoding(invertible):
    np.testing.assert_allclose(invertible.encoded, invertible.u, **TIGHT)


def test_projecting_twice_changes_nothing(invertible):
    np.testing.assert_allclose(invertible.projected_twice, invertible.projected, **TIGHT)


def test_pushforward_of_the_unit_frame_is_the_jacobian(chart):
    np.testing.assert_allclose(chart.pushed.swapaxes(1, 2), chart.jacobian, **TIGHT)


def test_pushforward_returns_the_decoded_point(chart):
    np.testing.assert_allclose(chart.pushed_x, chart.x, **TIGHT)


def test_every_volume_is_half_the_log_determinant_of_the_gram_matrix(chart):
    gram = chart.jacobian.swapaxes(1, 2) @ chart.jacobian
    expected = 0.5 * np.linalg.slogdet(gram)[1]
    for name, log_volume in chart.volumes.items():
        np.testing.assert_allclose(log_volume, expected, **TIGHT, err_msg=name)


def test_every_volume_returns_the_decoded_point(chart):
    for name, x in chart.volume_x.items():
        np.testing.assert_allclose(x, chart.x, **TIGHT, err_msg=name)


@pytest.mark.parametrize("name", ["pad", "plane in four dimensions", "affine, n = D"])
def test_charts_without_a_condition_ignore_one(name):
    part = CHARTS[name]()
    u = np.linspace(-1.0, 1.0, part.latent_dim)
    theta = np.ones(7)
    x = part.decode(u)
    np.testing.assert_array_equal(part.decode(u, theta), x)
    np.testing.assert_array_equal(part.encode(x, theta), part.encode(x))
    np.testing.assert_array_equal(
        part.pushforward(u, np.eye(part.latent_dim), theta)[1],
        part.pushforward(u, np.eye(part.latent_dim))[1],
    )


def test_inverting_undoes_a_layer(layer):
    np.testing.assert_allclose(layer.inverse, layer.x, **TIGHT)
    np.testing.assert_allclose(layer.inverse_log_det, -layer.log_det, **TIGHT)


def test_values_without_log_determinants_are_the_same(layer):
    np.testing.assert_allclose(layer.transformed, layer.y, **TIGHT)
    np.testing.assert_allclose(layer.inverted, layer.x, **TIGHT)


def test_a_layers_pushforward_rule_is_its_jacobian(layer):
    expected = np.einsum("pij,pkj->pki", layer.jacobian, layer.frame)
    np.testing.assert_allclose(layer.pushed, expected, **TIGHT)
    np.testing.assert_allclose(layer.pushed_y, layer.y, **TIGHT)


def test_a_layers_rule_agrees_with_linearising_it(layer):
    np.testing.assert_allclose(layer.pushed, layer.fallback, **TIGHT)
    np.testing.assert_allclose(layer.pushed_y, layer.fallback_y, **TIGHT)


def test_a_layers_log_determinant_is_that_of_its_jacobian(layer):
    np.testing.assert_allclose(layer.log_det, np.linalg.slogdet(layer.jacobian)[1], **TIGHT)


def test_a_layers_conormal_rule_is_the_inverse_of_its_jacobian(layer):
    np.testing.assert_allclose(layer.conormals @ layer.jacobian, layer.frame, **TIGHT)
    np.testing.assert_allclose(layer.conormal_log_det, layer.log_det, **TIGHT)
    np.testing.assert_allclose(layer.conormal_y, layer.y, **TIGHT)
