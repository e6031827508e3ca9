import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mflows.data import Data, DataError, check_latent_dim
from mflows.data import data as module

RNG = np.random.default_rng(0)


def example(rows: int = 20) -> Data:
    return Data(RNG.normal(size=(rows, 3)), RNG.normal(size=(rows, 2)), ("a", "b", "c"), ("s", "t"))


def test_shapes_are_those_of_one_point():
    data = example()
    assert (data.shape, data.cond_shape, len(data)) == ((3,), (2,), 20)
    plain = Data(np.zeros((4, 5)))
    assert (plain.shape, plain.cond_shape, plain.condition_names) == ((5,), None, ())
    assert plain.names == ("x0", "x1", "x2", "x3", "x4")
    assert Data(np.zeros((4, 1)), np.zeros((4, 2))).condition_names == ("theta0", "theta1")


@pytest.mark.parametrize(
    ("given_dtype", "kept"),
    [("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("?", "f8")],
)
def test_single_precision_is_kept(given_dtype, kept):
    x = Data(np.ones((3, 2), dtype=given_dtype)).x
    assert x.dtype == np.dtype(kept)
    assert x.dtype.isnative


def test_rows():
    data = example()
    for rows in (slice(2, 5), [4, 1], np.array([3, 3]), data.x[:, 0] > 0):
        part = data[rows]
        np.testing.assert_array_equal(part.x, data.x[rows])
        np.testing.assert_array_equal(part.condition, data.condition[rows])
        assert (part.names, part.condition_names) == (data.names, data.condition_names)
    np.testing.assert_array_equal(data[-1].x, data.x[-1:])
    assert len(list(data)) == len(data)


@given(rows=st.integers(2, 60), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_split_is_a_partition(rows, fraction, seed):
    data = Data(np.arange(2.0 * rows).reshape(rows, 2), np.arange(float(rows))[:, None])
    kept, held_out = data.split(fraction, seed)
    assert len(held_out) == min(max(round(fraction * rows), 1), rows - 1)
    together = np.concatenate([kept.condition, held_out.condition])
    np.testing.assert_array_equal(np.sort(together[:, 0]), np.arange(rows))
    for part in (kept, held_out):
        np.testing.assert_array_equal(part.x[:, 0], 2 * part.condition[:, 0])
    again = data.split(fraction, seed=seed)
    np.testing.assert_array_equal(again.held_out.x, held_out.x)
    np.testing.assert_array_equal(data.x[data.held_out_rows(fraction, seed)], held_out.x)


def test_split_depends_on_the_seed():
    data = example(100)
    assert (data.split(0.5, 0).kept.x != data.split(0.5, 1).kept.x).any()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_split_needs_a_fraction(fraction):
    with pytest.raises(DataError, match="Expected a fraction between 0 and 1"):
        example().split(fraction, 0)


X = np.ones((4, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.ones(4)}, r"Expected x of shape \(rows, columns\).*got \(4,\)"),
        ({"x": np.ones((4, 3, 2)), "names": ("a",)}, r"no names for points of shape \(3, 2\)"),
        ({"x": X, "condition": np.ones((4, 2, 2))}, r"condition of shape .*got \(4, 2, 2\)"),
        ({"x": np.ones((0, 3))}, r"none of them 0; got \(0, 3\)"),
        ({"x": [["a", "b"]]}, "Expected an array of numbers; got dtype <U1"),
        ({"x": X, "names": ("a", "b")}, "Expected one name for each of the 3 columns of x; got 2"),
        ({"x": X, "names": ("a", "b", "a")}, "Expected every column once; got twice or more: 'a'"),
        ({"x": X, "condition": np.ones(4)}, r"Expected condition of shape.*got \(4,\)"),
        ({"x": X, "condition": np.ones((5, 1))}, "one condition for each of the 4 rows.*got 5"),
        ({"x": X, "condition_names": ("t",)}, "no condition_names without a condition; got 't'"),
        (
            {"x": X, "condition": X[:, :1], "names": tuple("abc"), "condition_names": ("a",)},
            "Expected every column once; got twice or more: 'a'",
        ),
        (
            {"x": np.where(np.eye(4, 3) == 1, np.nan, 1.0)},
            "x: expected finite numbers; got NaN .* in row 1, column 'x0' .3 in all, in 3 of 4",
        ),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(DataError, match=message) as caught:
        Data(**arguments)
    assert "\n" not in str(caught.value)


def test_check_latent_dim():
    data = Data(RNG.normal(size=(5, 3)))
    assert check_latent_dim(data, 1) == 1
    assert check_latent_dim(data, np.int64(2)) == 2
    for wrong in (3, 4, 0, -1):
        message = f"Expected 1 <= latent_dim <= 2, fewer than the 3 columns .*got {wrong}"
        with pytest.raises(DataError, match=message):
            check_latent_dim(data, wrong)
    with pytest.raises(DataError, match=r"latent_dim to be a whole number; got 1\.5"):
        check_latent_dim(data, 1.5)
    with pytest.raises(DataError, match=r"at least two columns.*got one column \('x0'\)"):
        check_latent_dim(data=Data(np.ones((5, 1))), latent_dim=1)


def test_images_are_points_too():
    x = RNG.normal(size=(20, 4, 3, 2))
    data = Data(x, np.arange(20.0)[:, None])
    assert (data.shape, data.names, data.condition_names) == ((4, 3, 2), (), ("theta0",))
    kept, held_out = data.split(0.25, seed=0)
    rows = held_out.condition[:, 0].astype(int)
    np.testing.assert_array_equal(held_out.x, x[rows])
    np.testing.assert_array_equal(kept.x, np.delete(x, rows, axis=0))
    assert check_latent_dim(data, 23) == 23
    with pytest.raises(DataError, match=r"<= 23, fewer than the 24 numbers of a point of shape"):
        check_latent_dim(data, 24)


def test_values_are_looked_at_once(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "check_finite", lambda name, *_, **__: seen.append(name))
    data = example()
    data.split(0.5, 0).kept.sample(3, 0)[[1]]
    assert seen == ["x", "condition"]


def test_heavy_libraries_are_imported_on_use():
    code = "import sys, mflows.data; print({'polars', 'h5py', 'PIL'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert output.stdout.decode().strip() == "set()"


def weighted(weight) -> Data:
    x = np.arange(2.0 * len(weight)).reshape(-1, 2)
    return Data(x, x[:, :1], weight=np.asarray(weight, dtype=float))


@given(
    st.lists(st.floats(0, 1e3), min_size=2, max_size=40).filter(lambda w: max(w) > 1e-9),
    st.integers(0, 100),
)
def test_rows_are_drawn_as_often_as_their_weight_says(weight, seed):
    data = weighted(weight)
    drawn = data.unweighted(seed)
    assert drawn.weight is None
    assert len(drawn) == len(data)
    np.testing.assert_array_equal(drawn.condition, drawn.x[:, :1])
    times = np.bincount((drawn.x[:, 0] / 2).astype(int), minlength=len(data))
    expected = len(data) * data.weight / data.weight.sum()
    assert np.all(np.abs(times - expected) < 1 + 1e-9 * len(data))
    assert not times[data.weight == 0].any()


def test_order_of_rows_drawn_is_random():
    drawn = weighted(np.ones(100)).unweighted(0).x[:, 0] / 2
    assert sorted(drawn) == list(range(100))
    assert list(drawn) != list(range(100))


def test_what_is_held_out_is_drawn_and_what_is_kept_has_weights():
    data = weighted(np.arange(1.0, 101))
    kept, held_out = data.split(0.2, seed=0)
    np.testing.assert_array_equal(kept.weight, kept.x[:, 0] / 2 + 1)
    assert held_out.weight is None
    np.testing.assert_array_equal(data.x[data.held_out_rows(0.2, 0)], held_out.x)
    assert not set(kept.x[:, 0]) & set(held_out.x[:, 0])
    assert data.sample(30, 0).weight is None
    assert len(data.sample(30, 0)) == 30
    np.testing.assert_array_equal(data[3:5].weight, [4, 5])


def test_effective_size_is_that_of_weights_that_are_alike():
    assert weighted([2, 2, 2]).effective_size == 3
    assert weighted([1, 0, 0]).effective_size == 1
    assert weighted([3, 1]).effective_size == 16 / 10
    assert example().effective_size == 20


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, -1, 2], r"weight: expected .* not below 0; got -1.0 in row 2"),
        ([1, np.nan, 2], "got nan in row 2"),
        ([0, 0, 0], "all are 0"),
        ([1, 2], r"a weight for each of the 3 points, shape \(3,\)"),
        ([[1], [2], [3]], r"shape \(3,\)"),
    ],
)
def test_wrong_weights(weight, message):
    with pytest.raises(DataError, match=message):
        Data(np.ones((3, 2)), weight=np.asarray(weight, dtype=float))
