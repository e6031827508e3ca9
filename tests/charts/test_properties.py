"""What holds for charts, layers and log-volumes that Hypothesis draws, against autodiff and SVD.

Tolerances grow with the condition number of what is inverted: rounding does.
"""

from functools import cache

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from paramax import unwrap
from tests.registry import VOLUMES, disturbed, serves
from tests.strategies import CHARTS, INVERTIBLE, LAYERS, PADDED, Drawn, drawn, quickly

from mflows.charts import is_padded
from mflows.volume import Auto, Exact, Hadamard

ROUNDING = 1e-13
"""Relative error of some hundred operations in double precision."""

many = settings(max_examples=100)


@quickly
def decode(chart, u, condition):
    return jax.vmap(unwrap(chart).decode)(u, condition)


@quickly
def encode(chart, x, condition):
    return jax.vmap(unwrap(chart).encode)(x, condition)


@quickly
def whole_jacobian(chart, u, condition):
    """Of the bijection of a padded chart, whose first n columns are J; else of the decoder."""
    chart = unwrap(chart)

    def of_point(u, condition):
        if is_padded(chart):
            whole = chart.bijection
            condition = None if whole.cond_shape is None else condition
            return jax.jacfwd(lambda x: whole.transform(x, condition))(chart.inner.decode(u))
        return jax.jacfwd(lambda u: chart.decode(u, condition))(u)

    return jax.vmap(of_point)(u, condition)


@quickly
def pushed(chart, u, frame, condition):
    return jax.vmap(unwrap(chart).pushforward)(u, frame, condition)


@quickly
def log_volumes(chart, u, condition):
    """By every exact method that serves, whole and one tangent at a time, and the bound on top."""
    chart = unwrap(chart)
    methods = {name: volume for name, build in VOLUMES.items() if serves(volume := build(), chart)}
    methods = {name: it for name, it in methods.items() if not isinstance(it, Auto | Exact)}
    methods |= {f"chunk of {k}": Exact(chunk=k) for k in {1, chart.latent_dim}}
    methods["bound"] = Hadamard(probes=chart.latent_dim)
    return {
        name: jax.vmap(lambda u, c, it=it: it.decode_and_log_volume(chart, u, c))(u, condition)
        for name, it in methods.items()
    }


def singular_values(jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest and smallest, shape (POINTS, 1); the smallest not 0, as it is at a sphere's poles."""
    values = np.linalg.svd(jacobian, compute_uv=False)
    return values[:, :1], np.maximum(values[:, -1:], 1e-9 * values[:, :1])


def size(x: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x).max(1, keepdims=True), 1.0)


@given(drawn(INVERTIBLE))
@many
def test_encoding_undoes_decoding(chart: Drawn):
    x = np.asarray(decode(chart.part, chart.u, chart.condition))
    _, least = singular_values(whole_jacobian(chart.part, chart.u, chart.condition))
    error = np.abs(encode(chart.part, x, chart.condition) - chart.u)
    assert (error <= ROUNDING * (size(chart.u) + size(x) / least)).all()


@cache
def single():
    """One of them, in single precision."""
    with jax.enable_x64(False):
        return quickly(PADDED["three in five dimensions"].build)()


@given(
    size_of_noise=st.floats(0, 0.7),
    seed=st.integers(0, 999),
    u=arrays(np.float32, (5, 3), elements=st.floats(-100, 100, width=32)),
)
@many
def test_encoding_undoes_decoding_in_single_precision(size_of_noise, seed, u):
    with jax.enable_x64(False):
        chart = disturbed(single(), size_of_noise, seed)
        x = np.asarray(decode(chart, u, None))
        error = np.abs(encode(chart, x, None) - u)
        _, least = singular_values(np.asarray(whole_jacobian(chart, u, None)))
    assert x.dtype == error.dtype == np.float32
    assert (error <= 1e-5 * (size(u) + size(x) / least)).all()


@given(drawn(INVERTIBLE))
@many
def test_projecting_twice_changes_nothing(chart: Drawn):
    def project(x):
        u = encode(chart.part, x, chart.condition)
        return u, np.asarray(decode(chart.part, u, chart.condition))

    u, projected = project(chart.off)
    most, least = singular_values(whole_jacobian(chart.part, u, chart.condition))
    error = np.abs(project(projected)[1] - projected)
    assert (error <= ROUNDING * (most * size(u) + most / least * size(projected))).all()


@given(drawn(CHARTS))
@many
def test_pushforward_is_the_jacobian_times_the_frame(chart: Drawn):
    x, tangents = pushed(chart.part, chart.u, chart.frame, chart.condition)
    jacobian = np.asarray(whole_jacobian(chart.part, chart.u, chart.condition))
    jacobian = jacobian[..., : chart.u.shape[1]]
    expected = np.einsum("pij,pkj->pki", jacobian, chart.frame)
    atol = 1e-11 * np.abs(jacobian).max()
    np.testing.assert_allclose(tangents, expected, rtol=1e-9, atol=atol)
    decoded = decode(chart.part, chart.u, chart.condition)
    np.testing.assert_allclose(x, decoded, rtol=1e-12, atol=1e-12 * np.abs(decoded).max())


@given(drawn(CHARTS))
@many
def test_log_volumes_are_those_of_the_singular_values(chart: Drawn):
    whole = np.asarray(whole_jacobian(chart.part, chart.u, chart.condition))
    most, least = singular_values(whole)
    jacobian = whole[..., : chart.u.shape[1]]
    expected = np.log(np.linalg.svd(jacobian, compute_uv=False)).sum(1)
    atol = 1e-11 + ROUNDING * (most / least)[:, 0]
    found = log_volumes(chart.part, chart.u, chart.condition)
    _, bound = found.pop("bound")
    assert (bound >= expected - atol).all()
    lengths = np.linalg.norm(jacobian, axis=1)
    np.testing.assert_allclose(bound, np.log(lengths).sum(1), rtol=1e-9, atol=1e-9)
    for name, (x, log_volume) in found.items():
        assert (np.abs(log_volume - expected) <= atol).all(), name
        decoded = decode(chart.part, chart.u, chart.condition)
        np.testing.assert_allclose(x, decoded, rtol=1e-12, atol=1e-12 * np.abs(decoded).max())


@quickly
def both_ways(layer, x, condition):
    layer = unwrap(layer)

    def of_point(x, condition):
        y, log_det = layer.transform_and_log_det(x, condition)
        back = layer.inverse_and_log_det(y, condition)
        return jax.jacfwd(lambda x: layer.transform(x, condition))(x), y, log_det, *back

    return jax.vmap(of_point)(x, condition)


@given(drawn(LAYERS))
@many
def test_layers_have_the_log_determinant_of_their_jacobian_and_an_inverse(layer: Drawn):
    x = layer.u
    x[np.linalg.norm(x, axis=1) < 1e-3] += 1.0  # the centre of a sphere has no direction
    jacobian, y, log_det, back, log_det_back = map(
        np.asarray, both_ways(layer.part, x, layer.condition)
    )
    most, least = singular_values(jacobian)
    atol = 1e-11 + ROUNDING * (most / least)[:, 0]
    assert (np.abs(log_det - np.linalg.slogdet(jacobian)[1]) <= atol).all()
    error = np.abs(back - x)
    if layer.periodic:
        error = np.minimum(error, np.abs(error - 2 * np.pi))  # on either side of the seam
    assert (error <= ROUNDING * (size(x) + size(y) / least)).all()
    assert (np.abs(log_det + log_det_back) <= 1000 * atol).all()
