"""Charts with free networks: what they refuse, and where they start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paramax import unwrap
from tests.registry import key

from mflows.charts import Encoded, Generator, Inverted, Pad, Unavailable
from mflows.nets import SkipMLP


def test_a_generator_has_no_encoder_and_says_how_to_get_one():
    chart = Generator(SkipMLP(key(0), 1, 2, width=4))
    with pytest.raises(Unavailable, match=r"got a Generator.*Encoded, or .*Inverted"):
        chart.encode(jnp.zeros(2))


def test_the_encoder_must_fit_the_chart():
    with pytest.raises(ValueError, match="from 3 features to 2 latent.*got one from 3 to 1"):
        Encoded(Pad(2, 3), SkipMLP(key(0), 3, 1, width=4))


def test_decoding_is_the_chart_s_and_encoding_the_network_s():
    encoder = SkipMLP(key(0), 3, 2, width=4, scale=1.0)
    chart = Encoded(Pad(2, 3), encoder)
    x = jnp.array([0.3, -0.2, 2.0])
    np.testing.assert_array_equal(chart.encode(x), encoder(x))
    np.testing.assert_array_equal(chart.project(x), jnp.append(encoder(x), 0.0))


def test_free_networks_start_at_a_plane():
    chart = Encoded(
        Generator(SkipMLP(key(0), 2, 4, scale=0.0)), SkipMLP(key(1), 4, 2, width=8, scale=0.0)
    )
    x = jnp.array([0.3, -0.2, 2.0, 1.0])
    np.testing.assert_array_equal(chart.project(x), [0.3, -0.2, 0.0, 0.0])


def test_inverting_finds_the_coordinates_of_points_on_the_manifold_and_near_it():
    chart = unwrap(Inverted(Generator(SkipMLP(key(0), 1, 2, width=8, scale=1.0)), key(1)))
    u = jnp.linspace(-2, 2, 7)[:, None]
    x = jax.vmap(chart.decode)(u)
    np.testing.assert_allclose(jax.vmap(chart.encode)(x), u, atol=1e-5)
    off = x + 0.05
    found = jax.vmap(chart.project)(off)
    grid = jax.vmap(chart.decode)(jnp.linspace(-4, 4, 20001)[:, None])
    least = np.linalg.norm(grid[None] - off[:, None], axis=-1).min(1)
    np.testing.assert_allclose(np.linalg.norm(found - off, axis=1), least, atol=1e-6)


def test_a_conditional_network_asks_for_its_condition():
    network = SkipMLP(key(0), 1, 2, cond_size=3, width=4)
    with pytest.raises(ValueError, match=r"condition of shape \(3,\); got none"):
        network(jnp.zeros(1))
    assert not np.array_equal(
        network(jnp.zeros(1), jnp.zeros(3)), network(jnp.zeros(1), jnp.ones(3))
    )
