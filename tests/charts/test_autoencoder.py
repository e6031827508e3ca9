"""Charts with free networks: what they refuse, and where they start."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.registry import key

from mflows.charts import Encoded, Generator, Pad
from mflows.nets import SkipMLP


def test_a_generator_has_no_encoder_and_says_how_to_get_one():
    chart = Generator(SkipMLP(key(0), 1, 2, width=4))
    with pytest.raises(NotImplementedError, match=r"got a Generator.*Encoded\(generator, network"):
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


def test_a_conditional_network_asks_for_its_condition():
    network = SkipMLP(key(0), 1, 2, cond_size=3, width=4)
    with pytest.raises(ValueError, match=r"condition of shape \(3,\); got none"):
        network(jnp.zeros(1))
    assert not np.array_equal(
        network(jnp.zeros(1), jnp.zeros(3)), network(jnp.zeros(1), jnp.ones(3))
    )
