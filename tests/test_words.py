"""What the Python API says to calls that cannot be meant as they are."""

import pickle

import jax.random as jr
import numpy as np
import pytest

import mflows as mf

X = np.random.default_rng(0).normal(size=(20, 3))
SMALL = {"chart_layers": 1, "latent_layers": 1, "width": 4, "bins": 3}


@pytest.fixture(scope="module")
def flow() -> mf.Flow:
    return mf.models.m_flow(jr.key(0), (3,), 2, **SMALL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda flow: mf.fit(0, flow, X, []), r"random key, jax.random.key\(0\); got 0"),
        (lambda flow: flow.sample(0, 10), r"random key, jax.random.key\(0\)"),
        (lambda flow: mf.models.m_flow(7, (3,), 2), r"random key, jax.random.key\(7\)"),
        (lambda flow: mf.models.m_flow(jr.key(0), 3, 2), r"such as \(3,\) for 3 columns"),
        (lambda flow: mf.models.m_flow(jr.key(0), (3,), 2, width=0), "Expected width >= 1"),
        (
            lambda flow: mf.models.m_flow(jr.key(0), (3,), 2, chart_layers=0),
            "Expected from 1 to 1000 layers; got 0",
        ),
        (lambda flow: mf.fit(jr.key(0), flow, X, None), "Expected a recipe.*got None"),
        (lambda flow: mf.fit(jr.key(0), flow, X, "alternating"), "Expected a recipe.*alternating"),
        (
            lambda flow: mf.fit(jr.key(0), flow, X, mf.recipes.alternating),
            "Expected a recipe.*the function alternating",
        ),
        (lambda flow: mf.fit(jr.key(0), flow, X, [3]), "Expected phases in a recipe; got 3"),
        (lambda flow: mf.recipes.manifold_then_density(-5), "epochs.*>= 1; got -5"),
        (lambda flow: mf.recipes.alternating(0), "epochs.*>= 1; got 0"),
        (lambda flow: mf.recipes.maximum_likelihood(learning_rate=-1), "learning_rate > 0"),
        (
            lambda flow: mf.fit(jr.key(0), flow, X[:1], mf.recipes.alternating(2)),
            "at least two rows",
        ),
        (lambda flow: flow.sample(jr.key(0), (-1,)), "sizes >= 0"),
    ],
)
def test_an_error_says_what_to_do(flow, call, message):
    with pytest.raises(ValueError, match=message):
        call(flow)


def test_a_number_of_samples_is_a_shape(flow):
    np.testing.assert_array_equal(flow.sample(jr.key(0), 5), flow.sample(jr.key(0), (5,)))


def test_a_flow_of_models_pickles(flow):
    found = pickle.loads(pickle.dumps(flow))
    np.testing.assert_array_equal(found.log_prob(X), flow.log_prob(X))
    assert found.built == flow.built
    with pytest.raises(TypeError, match="put together by hand"):
        pickle.dumps(mf.Flow(flow.chart, flow.latent))
