"""Log-volumes where they are hard, which method is chosen, and what each refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.bijections import Affine, Chain
from paramax import unwrap
from tests.registry import CHARTS, FREE_CHARTS, coupling, placement, serves

from mflows.charts import BijectionChart, Chart, Circle, Pad, Placement, Product, Sphere
from mflows.volume import Auto, ClosedForm, Complement, Determinant, Exact, PartByPart


def _rotation(dim: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def stretched(n: int, dim: int, condition: float, seed: int = 0) -> tuple[Chart, float]:
    """A linear chart with singular values from 1 to 1 / condition, and its log-volume.

    The outer rotation mixes all directions, so that no column of J shows the small ones.
    """
    values = np.concatenate([np.geomspace(1, 1 / condition, n), np.ones(dim - n)])
    inner = np.eye(dim)
    inner[:n, :n] = _rotation(n, seed)
    outer = Placement(np.zeros(dim), np.ones(dim), _rotation(dim, seed + 100).T)
    chart = Pad(n, dim).then(Chain([Placement(np.zeros(dim), values, inner.T), outer]))
    return chart, float(np.log(values[:n]).sum())


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e6])
def test_exact_methods_agree_on_badly_conditioned_charts(condition):
    chart, expected = stretched(3, 5, condition)
    u = jnp.array([0.3, -0.2, 1.0])
    for volume in (Exact(), Complement(), Auto()):
        np.testing.assert_allclose(volume.log_volume(chart, u), expected, rtol=0, atol=1e-8)


def test_in_single_precision_qr_survives_where_cholesky_of_the_gram_matrix_fails():
    with jax.enable_x64(False):
        charts = [stretched(3, 5, 1e4, seed) for seed in range(8)]
        expected, u = charts[0][1], jnp.zeros(3)
        found = [v.log_volume(unwrap(c), u) for c, _ in charts for v in (Exact(), Complement())]
        frames = [unwrap(c).pushforward(u, jnp.eye(3))[1] for c, _ in charts]
        factors = [jnp.linalg.cholesky(frame @ frame.T) for frame in frames]
        by_cholesky = [jnp.log(jnp.diag(factor)).sum() for factor in factors]
    assert {value.dtype for value in (*found, *by_cholesky)} == {jnp.dtype("float32")}
    assert max(abs(float(value) - expected) for value in found) < 0.01
    errors = [abs(float(value) - expected) for value in by_cholesky]
    assert not max(errors) < 0.1 or np.isnan(errors).any()


def test_the_scaling_of_data_is_not_the_sum_of_its_log_scales():
    """Behind a padding, log-volumes of layers do not add."""
    chart = Pad(1, 2).then(Placement(np.zeros(2), np.array([3.0, 4.0]), _rotation(2, 0).T))
    direction = np.array([3.0, 4.0]) * _rotation(2, 0)[:, 0]
    expected = np.log(np.linalg.norm(direction))
    np.testing.assert_allclose(Auto().log_volume(chart, jnp.zeros(1)), expected, rtol=1e-12)
    assert abs(expected - np.log(12.0)) > 0.5


@pytest.mark.parametrize(
    ("chart", "kind"),
    [
        (BijectionChart(placement(3)), Determinant),
        (Pad(2, 3).then(placement(3)), Complement),
        (Pad(2, 4).then(placement(4)), Exact),
        (Pad(1, 3).then(placement(3)), Exact),
        (Pad(1, 2), Exact),
        (Pad(2, 3), Exact),
        (Sphere(2), ClosedForm),
        (Product(Circle(), Sphere(2)), PartByPart),
        (Sphere(2).then(placement(3)), Exact),
        (FREE_CHARTS["affine couplings with an encoder"](), Complement),
        (FREE_CHARTS["inverted generator"](), Exact),
    ],
)
def test_auto_takes_the_method_with_the_fewest_derivatives(chart, kind):
    assert type(Auto().choose(chart)) is kind


@pytest.mark.parametrize("name", FREE_CHARTS)
def test_auto_is_exact_for_charts_with_encoders_of_their_own(name):
    chart, u, theta = unwrap(FREE_CHARTS[name]()), jnp.array([0.3, -0.2]), jnp.array([0.5, 1.0])
    found = jax.jit(lambda u: Auto().decode_and_log_volume(chart, u, theta))(u)
    expected = jax.jit(lambda u: Exact().decode_and_log_volume(chart, u, theta))(u)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)


@pytest.mark.parametrize("name", CHARTS)
def test_auto_takes_a_method_that_serves(name):
    chart = CHARTS[name]()
    assert serves(Auto().choose(chart), chart)


def test_complement_refuses_what_is_not_padded():
    message = (
        r"Complement needs a padded bijection, Pad\(n, D\)\.then\(bijection\); got "
        r"BijectionChart\. Use Exact or Auto\."
    )
    with pytest.raises(TypeError, match=message):
        Complement().log_volume(BijectionChart(placement(3)), jnp.zeros(3))


def test_determinant_refuses_fewer_dimensions():
    message = r"a BijectionChart; got Composed with n = 2 in D = \(3,\)\. Use Exact, Complement"
    with pytest.raises(TypeError, match=message):
        Determinant().log_volume(Pad(2, 3).then(placement(3)), jnp.zeros(2))


def test_methods_agree_on_the_gradient_too():
    chart = Pad(2, 3).then(coupling(Affine()))
    u = jnp.array([0.4, -0.3])
    first, second = (
        jax.jit(jax.grad(lambda u, v=volume: v.log_volume(chart, u)))(u)
        for volume in (Exact(), Complement())
    )
    assert np.abs(first).max() > 1e-3
    np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-12)


def test_closed_forms_and_products_refuse_other_charts():
    with pytest.raises(
        TypeError, match=r"ClosedForm needs a chart with a method log_volume; got Pad"
    ):
        ClosedForm().log_volume(Pad(1, 2), jnp.zeros(1))
    with pytest.raises(TypeError, match=r"PartByPart needs a Product of charts; got Pad"):
        PartByPart(Exact()).log_volume(Pad(1, 2), jnp.zeros(1))
