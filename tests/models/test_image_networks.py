"""Networks of images, in every system that has them."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from paramax import unwrap
from tests.compiled import quickly
from tests.registry import FLOWS

import mflows as mf
from mflows.systems import SYSTEMS

SHAPE = (6, 6, 1)


@pytest.mark.parametrize("what", ["curve", "autoencoder"])
def test_densities_are_those_of_the_jacobian_of_autodiff(what):
    flow = unwrap(FLOWS[f"{what} of images, by transformers"]())
    x = jr.normal(jr.key(0), (3, *flow.shape))

    def expected(x):
        u = flow.chart.encode(x)
        jacobian = jax.jacrev(flow.chart.decode)(u).reshape(flow.dim, -1)
        return flow.latent_log_prob(u) - jnp.linalg.slogdet(jacobian.T @ jacobian)[1] / 2

    found, wanted = quickly(lambda x: (flow._log_prob(x), expected(x)))(x)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        *((name, "transformer") for name, row in SYSTEMS.items() if "network" in row.settings),
        ("vae", "convolutional"),
    ],
)
def test_every_builder_makes_flows_of_them_whose_steps_compile_once(name, network):
    row, sizes = SYSTEMS[name], {"width": 4, "network": network}
    rest = (2,) if row.takes_latent_dim else ()

    def asked(x, theta, key):
        flow = unwrap(row.build(key, SHAPE, *rest, cond_shape=(1,), **sizes))
        # A step makes numbers of a weak type strong ones, and is then compiled again.
        assert not any(jax.tree.leaves(jax.tree.map(lambda a: getattr(a, "weak_type", 0), flow)))
        y = flow.chart.project(x, theta)
        return y, flow._log_prob(y, theta) if flow.has_density else jnp.zeros(())

    found = jax.eval_shape(asked, jnp.zeros(SHAPE), jnp.zeros(1), jr.key(0))
    assert tuple(each.shape for each in found) == (SHAPE, ())


def test_tables_and_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="Expected images of shape .* Take network='dense'"):
        mf.models.vae(jr.key(0), (5,), 2, network="transformer")
    with pytest.raises(ValueError, match="out of dense, convolutional, transformer; got 'mlp'"):
        mf.models.pae(jr.key(0), SHAPE, 2, network="mlp")
