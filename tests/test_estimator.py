import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from mflows import ManifoldFlow, estimator
from mflows.charts import Unavailable
from mflows.training import recipes
from mflows.training.fit import Fitted

pytestmark = pytest.mark.filterwarnings("ignore::mflows.verdict.Doubt")

SMALL = {
    "epochs": 2,
    "chart_layers": 1,
    "latent_layers": 1,
    "bins": 3,
    "width": 4,
    "settings": {"affine": True},
    "validation_fraction": 0.0,
}
BARE = {"epochs": 2, "validation_fraction": 0.0, "random_state": 0, "width": 4, "blocks": 1}


# Of small systems with two phases this compiles soonest, and tables have a dozen shapes.
# check_array_api_input alone is skipped, by scikit-learn: SciPy's support of array APIs is off
# unless the environment sets SCIPY_ARRAY_API before Python starts.
@parametrize_with_checks([ManifoldFlow(1, model="pae", latent_layers=1, bins=3, **BARE)])
def test_scikit_learn(estimator, check):
    check(estimator)


def points(seed: int = 0, rows: int = 30) -> np.ndarray:
    """Near a plane curve in space, in units of very different size."""
    rng = np.random.default_rng(seed)
    t = rng.normal(size=rows)
    x = np.stack([t, 0.1 * t**2, t + 0.01 * rng.normal(size=rows)], axis=1)
    return x * [1.0, 1e-3, 1e4] + [0.0, 5.0, -1e4]


@pytest.fixture(scope="module")
def fitted() -> ManifoldFlow:
    return ManifoldFlow(1, random_state=0, **SMALL).fit(points())


def test_shapes_and_types(fitted):
    x = points(1, rows=70)
    u = fitted.transform(x)
    assert u.shape == (70, 1)
    assert fitted.inverse_transform(u).shape == (70, 3)
    assert fitted.project(x).shape == (70, 3)
    assert fitted.score_samples(x).shape == (70,)
    assert fitted.reconstruction_error(x).shape == (70,)
    assert fitted.sample(5).shape == (5, 3)
    assert isinstance(fitted.score(x), float)
    for array in (u, fitted.project(x), fitted.score_samples(x), fitted.sample(5)):
        assert isinstance(array, np.ndarray)
        assert array.dtype == np.float64


def test_the_numbers_are_those_of_the_flow(fitted):
    x = points(2, rows=9)
    flow = fitted.flow_
    np.testing.assert_allclose(fitted.score_samples(x), flow.log_prob(x))
    np.testing.assert_allclose(fitted.transform(x), flow.encode(x))
    np.testing.assert_allclose(fitted.reconstruction_error(x), flow.distance(x))
    u = fitted.transform(x)
    np.testing.assert_allclose(fitted.inverse_transform(u), fitted.project(x))


def test_the_same_random_state_gives_the_same_model(fitted):
    again = clone(fitted).fit(points())
    np.testing.assert_array_equal(again.transform(points()), fitted.transform(points()))
    np.testing.assert_array_equal(fitted.sample(4, random_state=3), again.sample(4, random_state=3))
    other = clone(fitted).set_params(random_state=1).fit(points())
    assert (other.transform(points()) != fitted.transform(points())).any()
    assert (fitted.sample(4, random_state=4) != fitted.sample(4, random_state=3)).any()


def test_a_pickle_holds_numbers_and_no_functions(fitted):
    stored = pickle.dumps(fitted)
    assert b"flowjax" not in stored
    loaded = pickle.loads(stored)
    x = points(3)
    np.testing.assert_array_equal(loaded.score_samples(x), fitted.score_samples(x))
    assert loaded.history_ == fitted.history_
    assert not hasattr(pickle.loads(pickle.dumps(ManifoldFlow())), "flow_")


def test_names_of_columns(fitted):
    frame = pd.DataFrame(points(), columns=["a", "b", "c"])
    named = clone(fitted).fit(frame)
    assert list(named.feature_names_in_) == ["a", "b", "c"]
    assert list(named.get_feature_names_out()) == ["manifoldflow0"]
    with pytest.raises(ValueError, match="feature names"):
        named.transform(frame.rename(columns={"a": "z"}))


def test_in_a_pipeline(fitted):
    pipeline = make_pipeline(StandardScaler(), clone(fitted))
    assert pipeline.fit_transform(points()).shape == (30, 1)
    assert pipeline.inverse_transform(pipeline.transform(points())).shape == (30, 3)


def test_a_constant_column_does_no_harm(fitted):
    x = points()
    x[:, 1] = 0.1
    flat = clone(fitted).fit(x)
    assert np.isfinite(flat.score_samples(x)).all()
    assert np.isfinite(flat.sample(10)).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 3}, "Expected n_components < 3, .* Use n_components=2 or less"),
        ({"n_components": 0}, "n_components to be a whole number, at least 1; got 0"),
        ({"n_components": 1.5}, "n_components to be a whole number"),
        ({"epochs": 0}, "epochs to be a whole number, at least 1"),
        ({"width": True}, "width to be of type int; got True"),
        ({"bins": 0}, "Expected bins > 0 and finite; got 0"),
        ({"model": "van"}, "Expected a model out of m-flow, .*; got 'van'"),
        ({"recipe": "free-form"}, "Expected a recipe of 'm-flow' out of .*; got 'free-form'"),
        ({"model": "vae"}, "Expected settings of 'vae' out of noise, .*; got 'chart_layers'"),
        ({"settings": {"noise": 0.1}}, "Expected settings of 'm-flow' out of .*; got 'noise'"),
        ({"n_components": None}, "n_components < 3, .*; got None"),
        ({"learning_rate": -1.0}, "learning_rate to be a number"),
        ({"learning_rate": 0.0}, "learning_rate > 0"),
        ({"interval": 0.0}, "interval"),
        ({"validation_fraction": 1.0}, r"validation fraction in \[0, 1\)"),
    ],
)
def test_parameters_that_make_no_sense(fitted, parameters, message):
    with pytest.raises(ValueError, match=message):
        clone(fitted).set_params(**parameters).fit(points())


def test_an_ambient_flow_has_as_many_coordinates_as_features():
    ambient = ManifoldFlow(None, model="af", bins=3, settings={"layers": np.int64(1)}, **BARE)
    x = points()
    ambient.fit(x)
    assert {row["phase"] for row in ambient.history_} == {"density"}
    assert ambient.transform(x).shape == x.shape
    np.testing.assert_allclose(ambient.score_samples(x), ambient.flow_.log_prob(x))
    with pytest.raises(ValueError, match="n_components=None for model='af', .* 3 coord.*; got 2"):
        clone(ambient).set_params(n_components=2).fit(x)


def test_a_variational_autoencoder_has_no_density_and_says_what_it_has():
    fitted = ManifoldFlow(1, model="vae", **BARE).fit(points())
    assert fitted.transform(points()).shape == (30, 1)
    with pytest.raises(Unavailable, match="importance_weighted_bound"):
        fitted.score_samples(points())
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.project(points()), fitted.project(points()))


def test_two_components_of_two_features_is_an_error_that_helps():
    with pytest.raises(ValueError, match="Use n_components=1 or less"):
        ManifoldFlow().fit(points()[:, :2])


def test_wrong_inputs(fitted):
    with pytest.raises(NotFittedError):
        ManifoldFlow().sample(3)
    with pytest.raises(ValueError, match="Expected 1 coordinates per point"):
        fitted.inverse_transform(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="n_samples to be a whole number, at least 1"):
        fitted.sample(0)


def test_numbers_beyond_the_precision(fitted, monkeypatch):
    monkeypatch.setattr(estimator.jnp, "zeros", lambda shape: np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="numbers that float32 can hold; got 1e\\+39"):
        clone(fitted).fit(points() + 1e39)


@pytest.mark.parametrize(("epochs", "used"), [(None, recipes.epochs_for(27, 100)), (7, 7)])
def test_epochs(fitted, monkeypatch, epochs, used):
    asked = []

    def fit(key, flow, data, phases, **_):
        asked.append(phases[-1].epochs)
        return Fitted(flow, [])

    monkeypatch.setattr(estimator, "fit", fit)
    clone(fitted).set_params(epochs=epochs, validation_fraction=0.1).fit(points())
    assert asked == [-(-used // 2)]
