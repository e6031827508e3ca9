"""Layers of images: wavelets, splits, the identity at first, and what cannot be halved."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from tests.registry import disturbed

from mflows.layers import multiscale_stack, patch_stack
from mflows.layers.multiscale import Haar
from mflows.layers.patches import splits
from mflows.tangents import inverted, pushforward, transformed

SHAPE = (16, 16, 1)
SMALL = {"layers": 2, "width": 4}


def test_wavelets_are_orthogonal_and_have_the_averages_in_the_corner():
    wavelets, x = Haar((4, 6, 2), (2, 3)), jr.normal(jr.key(0), (4, 6, 2))
    z = wavelets.inverse(x)
    np.testing.assert_allclose(wavelets.transform(z), x, atol=1e-12)
    np.testing.assert_allclose(jnp.sum(z**2), jnp.sum(x**2))
    squares = x.reshape(2, 2, 3, 2, 2)
    np.testing.assert_allclose(z[:2, :3], squares.sum((1, 3)) / 2, atol=1e-12)
    left_less_right = squares[:, :, :, 0].sum(1) - squares[:, :, :, 1].sum(1)
    np.testing.assert_allclose(z[:2, 3:], left_less_right / 2, atol=1e-12)


def test_a_round_of_splits_moves_halves_of_patches_then_every_other_patch():
    first, second, black, white, fifth = np.asarray(splits(jr.key(0), (4, 6, 3), 5))
    np.testing.assert_array_equal(first, ~second)
    np.testing.assert_array_equal(black, ~white)
    assert first.sum() == first.size // 2
    assert (first != fifth).any()
    for split in (first, fifth):
        np.testing.assert_array_equal(split, np.tile(split[:2, :2], (2, 3, 1)))
    np.testing.assert_array_equal(black[::2, ::2, 0], [[False, True, False], [True, False, True]])
    np.testing.assert_array_equal(black, np.kron(black[::2, ::2, :1], np.ones((2, 2, 3), bool)))


@pytest.mark.parametrize(("stack", "atol"), [(multiscale_stack, 0.05), (patch_stack, 0)])
def test_it_starts_near_the_identity(stack, atol):
    x = jr.normal(jr.key(1), SHAPE)
    np.testing.assert_allclose(stack(jr.key(0), SHAPE, **SMALL).transform(x), x, atol=atol)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("stack", [multiscale_stack, patch_stack])
def test_they_invert_and_their_tangents_are_those_of_autodiff(stack, affine):
    layers = disturbed(stack(jr.key(0), SHAPE, cond_dim=2, affine=affine, bins=4, **SMALL), 0.1)
    x, condition = jr.normal(jr.key(1), SHAPE), jnp.array([0.3, -0.8])
    frame = jr.normal(jr.key(2), (3, *SHAPE))

    @jax.jit
    def evaluate(x, condition):
        y, log_det = layers.transform_and_log_det(x, condition)
        jvp = jax.linearize(lambda x: layers.transform(x, condition), x)[1]
        return (
            (y, log_det),
            layers.inverse_and_log_det(y, condition),
            (transformed(layers, x, condition), inverted(layers, y, condition)),
            (pushforward(layers, x, frame, condition)[1], jax.vmap(jvp)(frame)),
        )

    (y, log_det), (back, inverse_log_det), (same, undone), (pushed, expected) = evaluate(
        x, condition
    )
    np.testing.assert_allclose(back, x, atol=1e-8)
    np.testing.assert_allclose(log_det, -inverse_log_det, atol=1e-8)
    np.testing.assert_allclose(same, y, atol=1e-10)
    np.testing.assert_allclose(undone, x, atol=1e-8)
    np.testing.assert_allclose(pushed, expected, atol=1e-9)
    (other, _), *_ = evaluate(x, -condition)
    assert jnp.abs(other - y).max() > 1e-3


@pytest.mark.parametrize("stack", [multiscale_stack, patch_stack])
def test_an_odd_image_says_so(stack):
    with pytest.raises(ValueError, match="even number of rows and columns, .*; got 7 x 8. Resize"):
        stack(jr.key(0), (7, 8, 1))
