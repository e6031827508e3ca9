"""Manifolds of any generator against closed forms, and of an ONNX file against the same in JAX."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.distributions import Uniform
from scipy.stats import multivariate_normal, norm
from tests.simulators import generators

from mflows.simulators import (
    Faces,
    GeneratorManifold,
    HasDistance,
    HasLatents,
    HasLogProb,
    HasSurface,
    Simulator,
    named,
    onnx_generator,
)

MATRIX = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)))


def linear(w):
    return MATRIX @ w + 1


def test_it_knows_its_truth():
    manifold = GeneratorManifold(linear, 3)
    for known in (Simulator, HasLogProb, HasDistance, HasSurface, HasLatents):
        assert isinstance(manifold, known)
    assert (manifold.shape, manifold.latent_dim, manifold.prior.shape) == ((5,), 2, (0,))


def test_a_linear_generator_makes_a_degenerate_normal():
    manifold = GeneratorManifold(linear, 3, scale=0.7)
    a = 0.7 * MATRIX @ manifold.directions
    mean = linear(manifold.rest)
    x = np.asarray(manifold.simulate(jr.key(0), jnp.zeros((3, 0))))
    assert x.shape == (3, 5)
    oracle = multivariate_normal(np.asarray(mean), np.asarray(a @ a.T), allow_singular=True)
    np.testing.assert_allclose(manifold.log_prob(x), oracle.logpdf(x), atol=1e-6)
    off = np.linalg.svd(np.asarray(a))[0][:, 2:] @ [0.3, 0.4, 0.0]
    np.testing.assert_allclose(manifold.distance(x + off), 0.5, atol=1e-6)
    np.testing.assert_allclose(manifold.nearest(x + off), x, atol=1e-6)


def test_all_directions_and_another_law():
    law = Uniform(-jnp.ones(3), jnp.ones(3))
    manifold = GeneratorManifold(linear, 3, 3, latent=law)
    z = manifold.latents(jr.key(1), jnp.zeros((50, 0)))
    assert np.abs(z).max() <= 1
    volume = np.linalg.slogdet(np.asarray(MATRIX.T @ MATRIX))[1] / 2
    np.testing.assert_allclose(manifold.log_prob_of(z), -3 * np.log(2) - volume)
    np.testing.assert_allclose(manifold.rest, 0)


def test_values_between_minus_one_and_one_become_brightness():
    x = GeneratorManifold(lambda w: jnp.tanh(w), 3, signed=True).embed(np.zeros((4, 2)))
    plain = GeneratorManifold(lambda w: jnp.tanh(w), 3).embed(np.zeros((4, 2)))
    np.testing.assert_allclose(x, (1 + plain) / 2)


def test_an_onnx_file_has_the_density_of_the_same_generator_in_jax(tmp_path):
    from tests.pretrained import onnx_files

    arrays = generators.arrays(6, 5, 4, 3)
    path = onnx_files.dcgan(tmp_path / "dcgan.onnx", arrays)
    known = Faces(2, scale=0.7, generator=generators.generator(6, 5, 4, 3))
    found = onnx_generator(path, scale=0.7, signed=True)
    z = np.random.default_rng(2).normal(size=(3, 2))
    np.testing.assert_allclose(found.embed(z), known.embed(z), atol=1e-12)
    np.testing.assert_allclose(found.log_prob_of(z), known.log_prob_of(z), atol=1e-9)
    again = named(f"{path}+latent_dim=3+signed+scale=2.5")
    assert (again.latent_dim, again.signed, again.scale) == (3, True, 2.5)
    assert again.shape == (16, 16, 3)
    assert named(f"{path}+channels_last").shape == (3, 16, 16)


def test_an_onnx_file_of_vectors_has_the_density_by_autodiff(tmp_path):
    from tests.pretrained import onnx_files

    (tmp_path / "a+b").mkdir()
    path = onnx_files.mlp(tmp_path / "a+b" / "mlp.onnx")
    manifold = named(f"{path}+latent_dim=2")
    z = np.random.default_rng(3).normal(size=(1, 2))
    jacobian = jax.jacfwd(manifold.render)(z[0])
    volume = np.linalg.slogdet(np.asarray(jacobian.T @ jacobian))[1] / 2
    np.testing.assert_allclose(manifold.log_prob_of(z), norm.logpdf(z).sum() - volume, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneratorManifold(linear, 3, 4), "Expected 1 <= latent_dim <= 3; got 4"),
        (lambda: GeneratorManifold(linear, 3, scale=-1), "Expected a scale > 0; got -1"),
        (lambda: GeneratorManifold(lambda w: w[:1], 3), r"points of 2 numbers or more.*got \(1,\)"),
        (lambda: GeneratorManifold(lambda w: (w, w), 3), "an array of JAX; got tuple"),
        (
            lambda: GeneratorManifold(linear, 3, latent=Uniform(-jnp.ones(3), jnp.ones(3))),
            r"a latent distribution of shape \(2,\) .* got \(3,\)",
        ),
        (lambda: named("g.onnx+size=2"), r"out of latent_dim=NUMBER, scale=NUMBER, signed, chann"),
        (lambda: named("faces+scale=x"), "scale=NUMBER; got 'scale=x'"),
        (lambda: named("generator"), r"or a file that ends with \.onnx; got 'generator'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
