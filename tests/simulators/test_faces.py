"""Images of a generator against its definition, torch, autodiff, quadrature and their own draws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import kstest
from tests.pretrained.fetched import fetched
from tests.simulators import generators

from mflows.simulators import (
    ConditionalFaces,
    Faces,
    HasDistance,
    HasJointScore,
    HasLatents,
    HasLogProb,
    HasSurface,
    Simulator,
    dcgan,
)

SMALL = generators.generator(6, 5, 4, 3)  # 16 x 16 pixels


@pytest.fixture(scope="module")
def faces():
    return Faces(2, scale=0.7, generator=SMALL)


@pytest.fixture(scope="module")
def conditional():
    return ConditionalFaces(4, size=8, generator=SMALL)


def transposed(h: np.ndarray, kernel: np.ndarray, stride: int, border: int) -> np.ndarray:
    """A transposed convolution by its definition: every pixel (channels first) paints a kernel."""
    full = np.zeros((kernel.shape[1], *[(n - 1) * stride + 4 for n in h.shape[1:]]))
    for i, j in np.ndindex(h.shape[1:]):
        part = full[:, i * stride : i * stride + 4, j * stride : j * stride + 4]
        part += np.tensordot(h[:, i, j], kernel, 1)
    inside = slice(border, -border or None)
    return full[:, inside, inside]


def test_generator_is_what_its_layers_say():
    arrays = generators.arrays(6, 5, 4, 3)
    w = np.random.default_rng(1).normal(size=6)
    h = transposed(w[:, None, None], arrays["net.main.0.weight"], 1, 0)
    for i in (1, 4):
        weight, bias, mean, variance = (
            arrays[f"net.main.{i}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        h = np.maximum(weight * (h - mean) / np.sqrt(variance + 1e-5) + bias, 0)
        h = transposed(h, arrays[f"net.main.{i + 2}.weight"], 2, 1)
    assert (SMALL.inputs, SMALL.shape) == (6, (16, 16, 3))
    np.testing.assert_allclose(SMALL(jnp.asarray(w)), np.tanh(h).transpose(1, 2, 0), atol=1e-13)


def test_generator_is_that_of_torch():
    """Expected numbers: the published generator in torch, float64, for the same latent vectors."""
    generator = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), fetched(dcgan.faces))
    w = np.sqrt(2) * np.cos(np.arange(300.0).reshape(3, 100))
    images = np.asarray(eqx.filter_vmap(generator)(jnp.asarray(w, jnp.float32)))
    assert images.shape == (3, 64, 64, 3)
    pixels = [
        [0.5172461, 0.1197953, -0.1628659],
        [0.2099652, -0.1999692, -0.4313787],
        [-0.0513597, -0.288079, -0.4135789],
    ]
    np.testing.assert_allclose(images[:, 20, 31], pixels, atol=1e-5)
    quarters = [
        [-0.0511143, -0.3513056, -0.4912883, 0.3548665, 0.1539313, 0.0553547],
        [-0.1780753, -0.3931117, -0.4932334, 0.3137682, 0.1381846, 0.0478573],
        [-0.2117528, -0.3445273, -0.4186694, 0.2207751, 0.0980362, 0.0255333],
    ]
    means = images.reshape(3, 2, 32, 2, 32, 3).mean((2, 4))[:, 0].reshape(3, -1)
    np.testing.assert_allclose(means, quarters, atol=1e-5)


def test_they_know_their_truth(faces, conditional):
    kinds = (Simulator, HasLogProb, HasDistance, HasSurface, HasLatents, HasJointScore)
    assert all(isinstance(each, kind) for each in (faces, conditional) for kind in kinds)
    assert (faces.prior.shape, conditional.prior.shape) == ((0,), (1,))
    assert (faces.shape, conditional.shape) == ((16, 16, 3), (8, 8, 3))


def test_directions_are_orthonormal_and_of_fewer_the_first():
    three = Faces(3, generator=SMALL)
    np.testing.assert_allclose(three.directions.T @ three.directions, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(three.directions.T @ three.rest, 0, atol=1e-14)
    np.testing.assert_array_equal(Faces(2, generator=SMALL).directions, three.directions[:, :2])
    np.testing.assert_array_equal(Faces(6, generator=SMALL).rest, 0)


def test_smaller_images_are_means_of_squares(faces):
    z = np.random.default_rng(2).normal(size=(3, 2, 2))
    x = faces.embed(z)
    assert x.shape == (3, 2, 16, 16, 3)
    assert 0 <= x.min() < x.max() <= 1
    small = Faces(2, size=4, scale=0.7, generator=SMALL).embed(z)
    np.testing.assert_allclose(small, x.reshape(3, 2, 4, 4, 4, 4, 3).mean((3, 5)), atol=1e-15)
    pixels = SMALL(faces.rest + 0.7 * faces.directions @ z[0, 0])
    np.testing.assert_allclose(x[0, 0], (pixels + 1) / 2, atol=1e-15)


@pytest.mark.parametrize("name", ["faces", "conditional"])
def test_density_is_that_of_z_over_the_volume_by_autodiff(name, request):
    manifold = request.getfixturevalue(name)
    theta = 0.3 * jnp.ones(manifold.prior.shape)
    z = np.random.default_rng(3).normal(size=(2, manifold.latent_dim))
    jacobian = jax.jacrev(manifold.render)(jnp.asarray(z[1])).reshape(-1, z.shape[1])
    volume = np.linalg.slogdet(jacobian.T @ jacobian)[1] / 2
    expected = manifold.latent_log_prob(z[1], theta) - volume
    found = manifold.log_prob_of(z, theta)
    assert found.shape == (2,)
    np.testing.assert_allclose(found[1], expected, atol=1e-10)


def test_density_integrates_to_one():
    curve = Faces(1, size=4, scale=0.2, generator=SMALL)
    z = np.linspace(-6, 6, 1001)[:, None]
    x = np.asarray(curve.embed(z)).reshape(len(z), -1)
    lengths = np.linalg.norm(np.diff(x, axis=0), axis=1)
    middle = np.exp(curve.log_prob_of((z[1:] + z[:-1]) / 2))
    assert lengths @ middle == pytest.approx(1, abs=3e-4)  # of the kinks


def test_images_are_found_again(faces):
    x = faces.simulate(jr.key(0), jnp.zeros((3, 0)))
    z = faces.latents(jr.key(0), jnp.zeros((3, 0)))
    np.testing.assert_allclose(faces.embed(z), x, atol=1e-14)
    np.testing.assert_allclose(faces.unembed(x), z, atol=1e-5)
    np.testing.assert_allclose(faces.distance(x), 0, atol=1e-5)
    np.testing.assert_allclose(faces.log_prob(x), faces.log_prob_of(z), atol=1e-4)
    jacobian = jax.jacfwd(faces.render)(z[0]).reshape(-1, 2)
    off = np.random.default_rng(4).normal(size=len(jacobian))
    off -= jacobian @ np.linalg.lstsq(jacobian, off)[0]
    away = x[0] + 0.05 * (off / np.linalg.norm(off)).reshape(x[0].shape)
    assert float(faces.distance(away)) == pytest.approx(0.05, abs=1e-5)
    np.testing.assert_allclose(faces.nearest(away), x[0], atol=1e-3)


def test_latents_are_distributed_as_told(conditional):
    z = conditional.latents(jr.key(1), jnp.full((2000, 1), 0.8))
    scaled = (z - 0.8 / 2) / np.exp(0.08)
    assert kstest(np.ravel(scaled), "norm").pvalue > 0.01


def test_joint_score_is_the_slope_of_the_log_density(conditional):
    theta = jnp.asarray([[0.5], [-1.0]])
    x, score = conditional.simulate_with_joint_score(jr.key(2), theta)
    np.testing.assert_array_equal(x, conditional.simulate(jr.key(2), theta))
    z = conditional.latents(jr.key(2), theta)
    density = jax.vmap(conditional.latent_log_prob)
    above, below = (density(z, theta + step) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(score[:, 0], (above - below) / 2e-5, rtol=1e-6)


def test_errors_say_what_to_do(faces):
    with pytest.raises(ValueError, match=r"Expected 1 <= latent_dim <= 6; got 7"):
        Faces(7, generator=SMALL)
    with pytest.raises(ValueError, match=r"a size that divides 16; got 5"):
        Faces(2, size=5, generator=SMALL)
    with pytest.raises(ValueError, match=r"a scale > 0; got 0"):
        Faces(2, scale=0, generator=SMALL)
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 16, 16, 3\) for Faces; got \(16, 16\)"):
        faces.distance(np.zeros((16, 16)))
    with pytest.raises(ValueError, match=r"Expected z of shape \(\.\.\., 2\) for Faces"):
        faces.embed(np.zeros(3))
