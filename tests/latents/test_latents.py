"""Densities on tori and spheres: normalised, continuous everywhere, and sampled as they say."""

import equinox as eqx
import flowjax.bijections
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import roots_legendre
from tests.registry import CIRCULAR, FLOWS, disturbed, fom, key, placement, turn_of

import mflows as mf
from mflows.charts import Sphere
from mflows.latents import SphereFlow, sphere_flow
from mflows.volume import Exact


def sphere_nodes(heights: int, azimuths: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of S^2 and their shares of its area: Gauss-Legendre nodes times uniform angles.

    About an axis that is not the coordinates'.
    """
    z, weights = roots_legendre(heights)
    phi = 2 * np.pi * np.arange(azimuths) / azimuths
    rho = np.sqrt(1 - z[:, None] ** 2)
    x = np.stack([*np.broadcast_arrays(z[:, None], rho * np.cos(phi), rho * np.sin(phi))], axis=-1)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    share = np.broadcast_to(weights[:, None] * 2 * np.pi / azimuths, x.shape[:-1])
    return x.reshape(-1, 3) @ turn.T, share.ravel()


@pytest.fixture(scope="module")
def sphere() -> mf.Flow:
    return FLOWS["density on a sphere"]()


@pytest.fixture(scope="module")
def circle() -> mf.Flow:
    return fom(2, "circle")


def test_on_the_sphere_the_density_integrates_to_one(sphere):
    x, share = sphere_nodes(90, 180)
    log_prob = np.asarray(sphere.log_prob(x))
    assert np.ptp(log_prob) > 1
    assert (np.exp(log_prob) * share).sum() == pytest.approx(1, abs=2e-4)


def test_on_the_circle_the_density_integrates_to_one(circle):
    phi = 2 * np.pi * np.arange(4000) / 4000
    log_prob = np.asarray(circle.log_prob(np.stack([np.cos(phi), np.sin(phi)], axis=-1)))
    assert np.ptp(log_prob) > 0.3
    assert np.exp(log_prob).mean() * 2 * np.pi == pytest.approx(1, abs=1e-5)


def test_on_the_torus_the_density_integrates_to_one_for_every_condition():
    flow = FLOWS["conditional density on a torus"]()
    phi = 2 * np.pi * np.arange(120) / 120
    x = np.stack([np.cos(phi), np.sin(phi)], axis=-1)
    pairs = np.concatenate(np.broadcast_arrays(x[:, None], x[None]), axis=-1)
    for theta in ([0.0, 0.0], [1.0, -2.0]):
        log_prob = np.asarray(flow.log_prob(pairs, np.array(theta)))
        assert np.ptp(log_prob) > 1
        assert np.exp(log_prob).mean() * (2 * np.pi) ** 2 == pytest.approx(1, abs=1e-3)


def test_on_the_three_sphere_the_density_integrates_to_one():
    """By Monte Carlo with uniform points, and a tolerance of four standard errors."""
    flow = mf.Flow(Sphere(3), disturbed(sphere_flow(key(0), 3, **CIRCULAR), 0.2))
    x = np.random.default_rng(0).normal(size=(4000, 4))
    ratio = np.exp(np.asarray(flow.log_prob(x))) * 2 * np.pi**2
    assert ratio.std() > 0.2
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(x))


@pytest.mark.parametrize("x64", [True, False])
def test_a_sphere_has_neither_seam_nor_pole(sphere, x64):
    """Points on either side of the seam, around the poles, and exactly there, have one density."""
    step = 1e-6
    poles = [[side, a * step, b * step] for side in (1, -1) for a, b in np.eye(2)]
    around = np.array([*poles, [1, 0, 0], [-1, 0, 0]])
    seams = np.array([[np.cos(t), -np.sin(t), side * step] for t in (0.3, 1.5) for side in (1, -1)])
    with jax.enable_x64(x64):
        cast = jax.tree.map(lambda w: w.astype(float) if eqx.is_inexact_array(w) else w, sphere)
        at_poles, at_seams = (cast.log_prob(jnp.asarray(x, float)) for x in (around, seams))
        gradient = jax.grad(lambda x: cast.log_prob(x).sum())(jnp.asarray(around, float))
    tolerance = 1e-4 if x64 else 2e-3
    for side in (np.array([0, 1, 4]), np.array([2, 3, 5])):
        np.testing.assert_allclose(at_poles[side], at_poles[side[0]], atol=tolerance)
    np.testing.assert_allclose(at_seams[::2], at_seams[1::2], atol=tolerance)
    assert np.isfinite(gradient).all()
    assert at_poles.dtype == (jnp.float64 if x64 else jnp.float32)


def test_a_circle_has_no_seam(circle):
    x = np.array([[-1, 1e-6], [-1, -1e-6], [-1, 0.0], [-1, -0.0]])
    log_prob = circle.log_prob(x)
    np.testing.assert_allclose(log_prob, log_prob[0], atol=1e-4)


def test_the_closed_form_and_the_pushforward_give_one_density(sphere):
    x = np.random.default_rng(0).normal(size=(20, 3))
    pushed = mf.Flow(sphere.chart, sphere.latent, Exact())
    np.testing.assert_allclose(pushed.log_prob(x), sphere.log_prob(x), rtol=1e-9)


def test_samples_come_with_their_density(sphere):
    x, log_prob = sphere.sample_and_log_prob(jr.key(0), (500,))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(sphere.log_prob(x), log_prob, rtol=1e-7, atol=1e-7)
    nodes, share = sphere_nodes(40, 80)
    density = np.exp(np.asarray(sphere.log_prob(nodes))) * share
    for power in (1, 2):
        moment = (nodes**power * density[:, None]).sum(0)
        error = np.asarray(x**power).std(0) / np.sqrt(len(x))
        assert (np.abs((x**power).mean(0) - moment) < 4 * error + 1e-3).all()


def test_samples_of_angles_have_their_density(circle):
    x, log_prob = circle.sample_and_log_prob(jr.key(0), (500,))
    np.testing.assert_allclose(circle.log_prob(x), log_prob, rtol=1e-7, atol=1e-7)
    u = circle.latent.sample(jr.key(1), (500,))
    assert (np.abs(u) <= np.pi).all()


def test_data_off_the_sphere_are_projected_and_distance_tells(sphere):
    x = np.array([[0.6, 0.0, 0.8]])
    np.testing.assert_allclose(sphere.log_prob(3 * x), sphere.log_prob(x), rtol=1e-9)
    np.testing.assert_allclose(sphere.distance(3 * x), 2, rtol=1e-12)


def test_a_uniform_density_on_products_and_ellipsoids():
    """Closed forms: 1 / area on the sphere; on an ellipsoid the area element of the map divides."""
    uniform = SphereFlow(flowjax.bijections.Identity((3,)))
    x = np.array([0.48, 0.6, 0.64])
    flow = mf.Flow(Sphere(2), uniform)
    np.testing.assert_allclose(flow.log_prob(x), -np.log(4 * np.pi), rtol=1e-9)
    moved = placement(3)
    ellipsoid = mf.Flow(Sphere(2).then(moved), uniform)
    matrix = np.asarray(moved.scale.tree)[:, None] * turn_of(moved)
    tangents = np.linalg.svd(x[None])[2][1:] @ matrix.T
    stretch = 0.5 * np.linalg.slogdet(tangents @ tangents.T)[1]
    found = ellipsoid.log_prob(moved.transform(x))
    np.testing.assert_allclose(found, -np.log(4 * np.pi) - stretch, rtol=1e-9)


@pytest.mark.parametrize(
    ("dim", "manifold", "message"),
    [
        (3, "circle", "in 3 dimensions, out of: sphere; got 'circle'"),
        (2, "sphere", "out of: circle, torus; got 'sphere'"),
        (1, "torus", "out of: none; got 'torus'"),
    ],
)
def test_a_manifold_that_is_not_there(dim, manifold, message):
    with pytest.raises(ValueError, match=message):
        mf.models.fom(key(0), (dim,), manifold=manifold)
