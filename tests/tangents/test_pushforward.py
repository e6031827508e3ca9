"""Which rule carries the tangents, and that the folded one is really used."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.bijections import Affine, Chain, Coupling, Invert, Reshape, Sandwich, Scan
from tests.registry import CHARTS, LAYERS, condition_of, coupling

from mflows.charts import Composed, Pad, push_conormals, pushforward
from mflows.tangents import coupling as rules_of_couplings

COUPLED = [
    "coupling of affines",
    "coupling of affines, deep, conditional",
    "coupling of splines, conditional",
    "coupling of our splines",
    "residual coupling",
    "residual coupling, conditional",
    "spline of one coordinate, conditional",
    "scan",
    "scan, conditional",
    "chain",
    "sandwich",
    "reshaped couplings",
]


RULES = {"tangents": pushforward, "covectors": push_conormals}


@pytest.fixture(params=RULES)
def carry(request):
    """Either function that carries vectors through layers."""
    return RULES[request.param]


@pytest.fixture
def folded(monkeypatch):
    """Count how often a folded coupling rule runs."""
    calls, genuine = [], rules_of_couplings.move
    monkeypatch.setattr(
        rules_of_couplings, "move", lambda *args: calls.append(args) or genuine(*args)
    )
    return calls


@pytest.mark.parametrize("kind", [Coupling, Chain, Sandwich, Scan, Reshape])
def test_layers_that_know_better_have_a_rule(kind, carry):
    assert carry.dispatch(kind) is not carry.dispatch(object)


def test_composed_charts_have_a_rule():
    assert pushforward.dispatch(Composed) is not pushforward.dispatch(object)


@pytest.mark.parametrize("kind", [Affine, Invert, Pad])
def test_everything_else_is_linearised(kind, carry):
    assert carry.dispatch(kind) is carry.dispatch(object)


def _trace(carry, layer):
    jax.eval_shape(
        lambda x, frame: carry(layer, x, frame, condition_of(layer)),
        jnp.zeros(layer.shape),
        jnp.zeros((2, *layer.shape)),
    )


@pytest.mark.parametrize("name", COUPLED)
def test_couplings_are_folded_wherever_they_sit(name, carry, folded):
    _trace(carry, LAYERS[name]())
    assert len(folded) == (2 if name == "chain" else 1)


@pytest.mark.parametrize("name", ["conditional spline surface", "LU splines in five dimensions"])
def test_couplings_of_our_own_charts_are_folded(name, folded):
    chart = CHARTS[name]()
    jax.eval_shape(
        lambda u: chart.pushforward(u, jnp.eye(chart.latent_dim), condition_of(chart)),
        jnp.zeros(chart.latent_dim),
    )
    assert len(folded) == 1  # the scan traces its body once


def test_an_inverted_coupling_falls_back_to_linearising(carry, folded):
    _trace(carry, Invert(coupling(Affine())))
    assert not folded


def test_the_wide_last_layer_is_not_formed_for_every_tangent():
    """No intermediate holds parameters of all transformers for each of the tangents."""
    tangents, layer = 23, LAYERS["residual coupling, conditional"]()
    dim, condition = layer.shape[0], condition_of(layer)
    outputs = layer.conditioner.last.weight.shape[0]

    def sizes(function):
        lowered = jax.jit(function).lower(jnp.zeros(dim), jnp.zeros((tangents, dim)))
        return lowered.as_text()

    wide = [f"<{tangents}x{outputs}x", f"<{outputs}x{tangents}x"]
    with_rules = sizes(lambda x, frame: pushforward(layer, x, frame, condition))
    assert not any(shape in with_rules for shape in wide)
    generic = pushforward.dispatch(object)
    assert wide[0] in sizes(lambda x, frame: generic(layer, x, frame, condition))


def test_an_unknown_conditioner_is_refused_with_its_name():
    layer = coupling(Affine())
    odd = eqx.tree_at(lambda c: c.conditioner, layer, eqx.nn.Linear(1, 4, key=jr.key(0)))
    with pytest.raises(TypeError, match=r"an eqx.nn.MLP or a ResidualMLP; got Linear\."):
        pushforward(odd, jnp.zeros(3), jnp.eye(3), None)


def test_the_pushforward_is_linear_in_the_frame():
    layer = LAYERS["sandwich"]()
    x, frame = jnp.array([0.3, -1.0, 0.7]), jnp.eye(3)
    _, unit = pushforward(layer, x, frame, None)
    mixed = jnp.array([[2.0, -1.0, 0.5]])
    _, image = pushforward(layer, x, mixed, None)
    np.testing.assert_allclose(image, mixed @ unit, rtol=1e-10)
