"""Estimates of log-volumes and their gradients, against the exact ones in double precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import StandardNormal
from paramax import unwrap
from scipy.stats import t as student
from tests.registry import CHARTS, FREE_CHARTS, affine_couplings, disturbed, key, placement
from tests.volume.test_volume import stretched

import mflows as mf
from mflows.charts import Chart, Pad, Placement
from mflows.volume import (
    Conformal,
    ConjugateGradient,
    Exact,
    Hadamard,
    Lanczos,
    Surrogate,
    surrogate,
)

N, DIM = 4, 7


@pytest.fixture(scope="module")
def chart():
    """Couplings behind a padding, far from the identity."""
    return unwrap(Pad(N, DIM).then(affine_couplings(DIM)).then(placement(DIM)))


@pytest.fixture(scope="module")
def u():
    return jnp.asarray(np.random.default_rng(0).normal(size=N))


@pytest.fixture(scope="module")
def exact(chart, u):
    """The exact log-volume and its gradient with respect to u."""
    return jax.jit(jax.value_and_grad(lambda u: Exact().log_volume(chart, u)))(u)


def gradient(value, chart: Chart):
    """The gradient with respect to everything in the chart that can move."""
    return eqx.filter_jit(eqx.filter_grad(value))(chart)


def assert_same_gradient(found, expected, tolerance):
    largest = 0.0
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)
        largest = max(largest, float(jnp.abs(other).max()))
    assert largest > 0.01


# Conjugate gradients ---------------------------------------------------------------------------


@pytest.mark.parametrize("moves", ["chart", "u"])
def test_conjugate_gradients_over_all_unit_vectors_sum_to_the_exact_gradient(chart, u, moves):
    method = ConjugateGradient(rtol=1e-13)

    def summed(chart, u):
        return jax.lax.map(lambda probe: method.of_probe(chart, u, probe), jnp.eye(N)).sum()

    def exact(chart, u):
        return Exact().log_volume(chart, u)

    if moves == "chart":
        assert_same_gradient(
            gradient(lambda chart: summed(chart, u), chart),
            gradient(lambda chart: exact(chart, u), chart),
            1e-10,
        )
    else:
        found, expected = (
            jax.jit(jax.grad(lambda u, f=f: f(chart, u)))(u) for f in (summed, exact)
        )
        assert jnp.abs(expected).max() > 0.01
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_conjugate_gradients_are_right_in_the_mean(chart, u, exact):
    method, keys = ConjugateGradient(rtol=1e-10), jr.split(jr.key(0), 1000)
    draws = jax.jit(jax.vmap(jax.grad(lambda u, k: method.log_volume(chart, u, key=k)), (None, 0)))
    found, (_, expected) = draws(u, keys), exact
    error = found.std(0) / np.sqrt(len(keys))
    assert (error < 0.2 * jnp.abs(expected).max()).all()
    assert (jnp.abs(found.mean(0) - expected) < 4 * error).all()


def test_a_gradient_estimate_has_no_value(chart, u):
    for method in (ConjugateGradient(), Surrogate()):
        found = jax.jit(lambda u, m=method: m.decode_and_log_volume(chart, u, key=jr.key(0)))
        x, value = found(u)
        assert value == 0
        np.testing.assert_allclose(x, chart.decode(u))


# Surrogate -------------------------------------------------------------------------------------


class Line(Chart):
    """Arc length along a circle of radius r, encoded by s r times the angle: right for s = 1."""

    encoder_scale: jax.Array
    radius: float = 2.0
    shape: tuple[int, ...] = (2,)
    latent_dim: int = 1
    cond_shape: None = None

    def decode(self, u, condition=None):
        angle = u[0] / self.radius
        return self.radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def encode(self, x, condition=None):
        return self.encoder_scale * self.radius * jnp.arctan2(x[1], x[0])[None]


class Plane(Chart):
    """A linear decoder and a linear encoder of its own."""

    decoder: jax.Array
    encoder: jax.Array
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: None = None

    def decode(self, u, condition=None):
        return self.decoder @ u

    def encode(self, x, condition=None):
        return self.encoder @ x


def frame(n: int, dim: int) -> jax.Array:
    return jnp.linalg.qr(jnp.asarray(np.random.default_rng(1).normal(size=(dim, n))))[0]


def surrogate_gradient(chart: Chart, u) -> Chart:
    """The gradient of the surrogate, summed over all unit vectors."""
    basis = jnp.eye(chart.latent_dim)
    return gradient(lambda c: sum(surrogate(c, c.decode(u), u, v) for v in basis), chart)


def test_the_surrogate_is_exact_for_inverses_with_orthonormal_tangents():
    """The encoder's log-volume 1/2 log det(E E^T) is minus the decoder's, if it inverts it."""
    q = frame(3, 5)
    plane = Plane(q, q.T, (5,), 3)
    found = surrogate_gradient(plane, jnp.ones(3))
    exact = jax.grad(lambda e: -jnp.linalg.slogdet(e @ e.T)[1] / 2)(plane.encoder)
    np.testing.assert_allclose(found.encoder, exact, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(found.decoder, 0)
    line = surrogate_gradient(Line(jnp.ones(())), jnp.array([0.7]))
    np.testing.assert_allclose(line.encoder_scale, -1.0, rtol=0, atol=1e-10)  # of -log s


def test_the_surrogate_is_biased_where_the_encoder_does_not_invert():
    q = frame(3, 5)
    plane = Plane(2 * q, q.T, (5,), 3)
    found = surrogate_gradient(plane, jnp.ones(3)).encoder
    exact = jax.grad(lambda e: -jnp.linalg.slogdet(e @ e.T)[1] / 2)(plane.encoder)
    assert jnp.abs(found - exact).max() > 0.1


def test_the_surrogate_is_right_in_the_mean():
    q = frame(3, 5)
    chart, u = Plane(q, q.T, (5,), 3), jnp.ones(3)
    draws = jax.vmap(lambda k: eqx.filter_grad(Surrogate().log_volume)(chart, u, key=k).encoder)
    found = jax.jit(draws)(jr.split(jr.key(0), 2000))
    assert (jnp.abs(found.mean(0) + q.T) < 4.5 * found.std(0) / np.sqrt(2000) + 1e-12).all()


# Lanczos ---------------------------------------------------------------------------------------


def test_the_error_bar_of_lanczos_covers_the_truth_at_the_stated_rate(chart, u, exact):
    method, keys = Lanczos(probes=16, order=N), jr.split(jr.key(0), 1000)
    value, error = jax.jit(jax.vmap(lambda k: method.estimate(chart, u, key=k)))(keys)
    truth, _ = exact
    for level in (0.5, 0.95):
        covered = jnp.abs(value - truth) < student.ppf((1 + level) / 2, 15) * error
        assert abs(float(covered.mean()) - level) < 0.04
    assert abs(value.mean() - truth) < 4 * value.std() / np.sqrt(len(keys))


def test_lanczos_converges_with_its_order():
    """Errors fall for the same probes; of n steps none is left but the probes' own."""
    chart, expected = stretched(12, 15, 30.0)
    methods = [Lanczos(probes=2000, order=order) for order in (1, 3, 6, 12)]
    found = jax.jit(lambda u: [m.log_volume(chart, u, key=jr.key(0)) for m in methods])
    found = np.array(found(jnp.zeros(12)))
    errors = np.abs(found - found[-1])[:-1]
    assert errors[0] > 0.5
    assert (errors[1:] < errors[:-1] / 3).all()
    assert abs(found[-1] - expected) < 0.1


def test_lanczos_of_one_dimension_is_exact_and_so_is_its_gradient():
    chart = unwrap(CHARTS["curve in space"]())
    u = jnp.array([0.3])
    of_lanczos, of_exact = (
        jax.jit(jax.value_and_grad(lambda u, v=volume: v.log_volume(chart, u, key=jr.key(1))))
        for volume in (Lanczos(), Exact())
    )
    for found, expected in zip(of_lanczos(u), of_exact(u), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_gradient_of_lanczos_is_right_in_the_mean(chart, u, exact):
    method, keys = Lanczos(probes=4, order=N), jr.split(jr.key(0), 500)
    draws = jax.vmap(jax.grad(lambda u, k: method.log_volume(chart, u, key=k)), (None, 0))
    found, (_, expected) = jax.jit(draws)(u, keys), exact
    error = found.std(0) / np.sqrt(len(keys))
    assert (jnp.abs(found.mean(0) - expected) < 4.5 * error).all()


@pytest.mark.parametrize("method", [Lanczos(probes=2, order=3), ConjugateGradient(), Hadamard()])
def test_batches_of_estimates_have_gradients_of_the_chart(chart, method):
    """One by one as in a batch."""
    points, keys = jr.normal(jr.key(0), (2, N)), jr.split(jr.key(1))

    def summed(chart):
        return jax.vmap(lambda u, k: method.log_volume(chart, u, key=k))(points, keys).sum()

    @eqx.filter_jit
    @eqx.filter_grad
    def of_one(chart, u, key):
        return method.log_volume(chart, u, key=key)

    one_by_one = jax.tree.map(jnp.add, *(of_one(chart, points[i], keys[i]) for i in range(2)))
    assert_same_gradient(gradient(summed, chart), one_by_one, 1e-8)


def test_lanczos_survives_an_isometric_chart():
    """All eigenvalues are equal, and the Krylov space has one dimension."""
    chart = Pad(4, 6).then(
        Placement(np.zeros(6), np.ones(6), np.linalg.qr(np.ones((6, 6)) + np.eye(6))[0].T)
    )
    found = jax.jit(lambda u: Lanczos().estimate(chart, u, key=jr.key(0)))(jnp.ones(4))
    np.testing.assert_allclose(found.value, 0.0, atol=1e-9)
    np.testing.assert_allclose(found.standard_error, 0.0, atol=1e-9)


@pytest.mark.parametrize("settings", [{"probes": 1}, {"order": 0}])
def test_lanczos_refuses_too_few(settings):
    with pytest.raises(ValueError, match=r"at least 2 probes, for an error bar, and order >= 1"):
        Lanczos(**settings)


@pytest.mark.parametrize("method", [Hadamard, ConjugateGradient])
def test_at_least_one_probe(method):
    with pytest.raises(ValueError, match=r"Expected probes >= 1; got 0\."):
        method(probes=0)


# Hadamard --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lengths(chart, u):
    """Of the columns of the Jacobian."""
    return np.linalg.norm(jax.jit(jax.jacfwd(lambda u: chart.decode(u)))(u), axis=0)


def test_hadamard_bounds_the_log_volume(chart, u, exact, lengths):
    bound = jax.jit(lambda u: Hadamard(probes=N).log_volume(chart, u))(u)
    np.testing.assert_allclose(bound, np.log(lengths).sum(), rtol=1e-10)
    assert bound > exact[0] + 0.01


def test_hadamard_is_exact_for_orthogonal_tangents():
    torus = CHARTS["torus"]()
    u = jnp.array([0.1, 2.0, -1.0])
    np.testing.assert_allclose(
        Hadamard(probes=3).log_volume(torus, u), Exact().log_volume(torus, u), atol=1e-12
    )


def test_one_axis_estimates_the_bound_without_bias(chart, u, lengths):
    draws = jax.jit(jax.vmap(lambda k: Hadamard().log_volume(chart, u, key=k)))
    found = np.asarray(draws(jr.split(jr.key(0), 4000)))
    values, counts = np.unique(found.round(9), return_counts=True)
    np.testing.assert_allclose(values, np.sort(N * np.log(lengths)), atol=1e-8)
    assert np.abs(counts / len(found) - 1 / N).max() < 0.03


# All of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [Lanczos(), Hadamard(), ConjugateGradient(), Surrogate()])
def test_what_draws_asks_for_a_key(chart, u, method):
    name = type(method).__name__
    with pytest.raises(ValueError, match=f"Expected a random key: {name} draws probes; got none"):
        method.log_volume(chart, u)


@pytest.mark.parametrize("name", [*FREE_CHARTS, "affine couplings, conditional"])
def test_estimates_serve_every_chart(name):
    """Free networks, conditions, encoders found by search: value and gradient are finite."""
    chart = unwrap((FREE_CHARTS | CHARTS)[name]())
    u, theta = jnp.array([0.3, -0.2]), jnp.array([0.5, 1.0])
    for method in (Lanczos(), Hadamard(), ConjugateGradient()):
        value, slope = jax.jit(
            jax.value_and_grad(lambda u, m=method: m.log_volume(chart, u, theta, key=key(1)))
        )(u)
        assert jnp.isfinite(value)
        assert jnp.isfinite(slope).all()


def test_conformal_refuses_other_charts(chart):
    with pytest.raises(TypeError, match=r"Conformal needs a padded bijection that keeps angles"):
        Conformal().log_volume(chart, jnp.zeros(N))


# Flows -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flow(chart):
    return mf.Flow(chart, StandardNormal((N,)))


def test_an_audit_shows_exact_values_beside_estimates(flow):
    x = flow.sample(jr.key(1), (300,))
    audit = flow.audit(x, key=jr.key(2), volume=Lanczos(probes=32, order=N))
    np.testing.assert_allclose(audit.log_prob, flow.log_prob(x), rtol=1e-10)
    off = (audit.estimate - audit.log_prob) / audit.standard_error
    assert 0.8 < float(off.std()) < 1.3
    bound = flow.audit(x, volume=Hadamard(probes=N))
    assert (bound.estimate < bound.log_prob).all()
    assert (bound.standard_error == 0).all()


def test_an_audit_of_the_flows_own_method(chart):
    flow = mf.Flow(chart, StandardNormal((N,)), Lanczos(probes=32, order=N))
    x = flow.decode(jr.normal(jr.key(1), (10, N)))
    audit = flow.audit(x, key=jr.key(2))
    np.testing.assert_allclose(audit.estimate, flow.log_prob(x, key=jr.key(2)), rtol=1e-10)
    assert (audit.standard_error > 0).all()
    found = flow.log_prob_and_distance(x, key=jr.key(2))
    np.testing.assert_allclose(audit.estimate, found.log_prob, rtol=1e-10)


def test_points_get_probes_of_their_own(chart):
    flow = mf.Flow(chart, StandardNormal((N,)), Lanczos(probes=2, order=N))
    same = jnp.broadcast_to(flow.decode(jnp.ones(N)), (5, DIM))
    assert len(np.unique(flow.log_prob(same, key=jr.key(0)))) == 5


def test_a_flow_with_gradients_only_refuses_densities(chart):
    flow = mf.Flow(chart, StandardNormal((N,)), ConjugateGradient())
    for ask in (
        lambda: flow.log_prob(jnp.zeros(DIM), key=jr.key(0)),
        lambda: flow.sample_and_log_prob(jr.key(0)),
    ):
        with pytest.raises(mf.charts.Unavailable, match="estimates gradients, for training, and"):
            ask()
    assert flow.sample(jr.key(0)).shape == (DIM,)


def test_disturbed_conformal_maps_keep_angles():
    chart = disturbed(CHARTS["conformal surface"]())
    _, tangents = chart.pushforward(jnp.array([0.3, -0.4]), jnp.eye(2))
    gram = tangents @ tangents.T
    np.testing.assert_allclose(gram, gram[0, 0] * jnp.eye(2), atol=1e-10 * gram[0, 0])
