"""Loading: every format, every way a file can be wrong."""

import h5py
import numpy as np
import polars as pl
import pytest

from mflows.data import Data, DataError, data, load, load_like, save_array, stream

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
THETA = RNG.normal(size=(30, 2))
NAMES = ("mass", "radius", "flux", "colour")
SUFFIXES = (".npy", ".npz", ".csv", ".parquet", ".h5", ".hdf5")


def fails(message: str):
    return pytest.raises(DataError, match=message)


@pytest.fixture
def csv(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(tmp_path, suffix, dtype):
    path, x = tmp_path / f"t{suffix.upper()}", X.astype(dtype)
    save_array(path, x, NAMES)
    data = load(path)
    assert data.names == (NAMES if suffix != ".npy" else ("x0", "x1", "x2", "x3"))
    assert data.condition is None
    assert data.x.dtype == (dtype if suffix != ".csv" else np.float64)
    np.testing.assert_array_equal(data.x.astype(dtype), x)


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_condition_by_name(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    save_array(path, X, NAMES, more={"theta": THETA, "charge": THETA[:, 0]})
    data = load(path, condition=["flux", "theta1"], columns=["radius", "mass"])
    np.testing.assert_array_equal(data.x, X[:, [1, 0]])
    np.testing.assert_array_equal(data.condition, np.stack([X[:, 2], THETA[:, 1]], axis=1))
    assert (data.names, data.condition_names) == (("radius", "mass"), ("flux", "theta1"))
    assert load(path, condition="charge").condition_names == ("charge",)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays_beside_x_are_not_part_of_x(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    save_array(path, X, NAMES, more={"theta": THETA})
    assert load(path).names == NAMES
    data = load(path, condition=["theta"])
    assert (data.names, data.condition_names) == (NAMES, ("theta0", "theta1"))
    np.testing.assert_array_equal(data.condition, THETA)


def test_npy_columns_have_numbers(tmp_path):
    np.save(tmp_path / "t.npy", X)
    data = load(tmp_path / "t.npy", condition=["x1"])
    assert (data.names, data.condition_names) == (("x0", "x2", "x3"), ("x1",))


def test_the_only_matrix_of_a_file_is_x(tmp_path):
    np.savez(
        tmp_path / "t.npz", points=X, theta=THETA[:, 0], version=np.array("3"), other=np.ones(2)
    )
    assert load(tmp_path / "t.npz", condition=["theta"]).shape == (4,)
    np.savez(tmp_path / "t.npz", points=X, theta=THETA)
    with fails(r"t.npz: expected an array 'x'.*got points \(30, 4\) float64, theta \(30, 2\)"):
        load(tmp_path / "t.npz")
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["run/points"] = X
        file["run/theta"] = THETA[:, 0]
    assert load(tmp_path / "t.h5", condition=["run/theta"]).shape == (4,)


def test_wrong_number_of_names(tmp_path):
    np.savez(tmp_path / "t.npz", x=X, names=np.array(["a", "b"]))
    with fails("t.npz: expected 4 names, one for each column of 'x'; got 2"):
        load(tmp_path / "t.npz")


def test_integers_and_booleans_become_float64(tmp_path):
    pl.DataFrame({"a": [1, 2], "b": [True, False]}).write_parquet(tmp_path / "t.parquet")
    data = load(tmp_path / "t.parquet")
    assert data.x.dtype == np.float64
    np.testing.assert_array_equal(data.x, [[1, 1], [2, 0]])


TABLE = [[1.0, 2.0], [3.0, 4.5]]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n3,4.5\n", ("a", "b")),
        ("a,b\r\n1,2\r\n3,4.5", ("a", "b")),
        ("a;b\n1;2\n3;4.5\n", ("a", "b")),
        ("a\tb\n1\t2\n3\t4.5\n", ("a", "b")),
        (" a , b\n 1, 2\n 3, 4.5\n", ("a", "b")),
        ("# a,b\n1,2\n3,4.5\n", ("a", "b")),
        ('"a, in m",b\n1,2\n3,4.5\n', ("a, in m", "b")),
        (b"\xef\xbb\xbfa,b\n1,2\n3,4.5\n", ("a", "b")),
        ("1,2\n3,4.5\n", ("x0", "x1")),
        (b"\xef\xbb\xbf1,2\n3,4.5\n", ("x0", "x1")),
        ("0,1\n1,2\n3,4.5\n", ("0", "1")),
        (",a,b\n0,1,2\n1,3,4.5\n", ("a", "b")),
        ("a,b\n1,2\n3,4.5\n\n\n", ("a", "b")),
    ],
)
def test_csv_as_people_write_it(csv, text, names):
    data = load(csv(text))
    assert data.names == names
    np.testing.assert_array_equal(data.x, TABLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a table; got an empty file"),
        ("a,b\n", "expected a table with rows; got a header line alone"),
        ("a,b\n1,2\n", "expected at least two rows; got one row"),
        ("a,b,k,u\n1,2,red,x\n3,4,blue,y\n", "numbers only; got columns 'k', 'u' with text.*'red'"),
        ("a,d\n1,2020-01-01\n3,2020-01-02\n", "numbers only; got column 'd'.*'2020-01-01'"),
        ("a,b\n1,2\n3,nan\n5,NA\n", "got NaN or a missing value in row 2, column 'b' .2 in all"),
        ("a,b\n1,2\n3,\n", "got NaN or a missing value in row 2, column 'b' .1 in all, in 1 of 2"),
        ("a,b\n-inf,2\n3,4\n", "an infinite value .-inf. in row 1, column 'a'"),
        ("a,b\n1,2\n3\n", "got NaN or a missing value in row 2, column 'b'"),
        ("a,b\n1,2\n3,4,5\n", "as many columns as the first line has .2.; got rows of 3"),
        ("a,a\n1,2\n3,4\n", "expected every column once; got twice or more: 'a'"),
        ("a,b,c\n1,2,7\n1,4,7\n", "got constant columns 'a', 'c'.*drop_constant=True.*--drop-con"),
        ("a,b\n1,2\n1,2\n1,2\n", "expected rows that differ; all 3 rows are equal"),
    ],
)
def test_unusable_tables(csv, text, message):
    with fails(f"table.csv: .*{message}") as caught:
        load(csv(text))
    assert "\n" not in str(caught.value)


def test_drop_constant(csv):
    path = csv("a,b,c\n1,2,7\n1,4,7\n")
    assert load(path, drop_constant=True).names == ("b",)
    with fails("all 2 rows are equal"):
        load(csv("a,b\n1,2\n1,2\n"), drop_constant=True)


def test_constant_condition(csv):
    with fails("expected a condition that varies; got constant column 't'"):
        load(csv("a,b,t\n1,2,5\n3,4,5\n"), condition=["t"])


def test_text_columns_that_are_not_chosen_do_no_harm(csv):
    assert load(csv("a,b,k\n1,2,red\n3,4,blue\n"), columns=["a", "b"]).shape == (2,)


def test_missing_columns(csv):
    path = csv("mass,radius,flux\n1,2,3\n3,4,5\n")
    with fails(
        "expected condition column 'fluxx'; got columns 'mass', 'radius', 'flux'. "
        "Did you mean 'flux' for 'fluxx'"
    ):
        load(path, condition=["fluxx"])
    with fails("expected columns 'm', 'zzz'; got columns"):
        load(path, columns=["m", "zzz"])
    with fails("expected a column as part of x or as condition; got 'mass' as both"):
        load(path, columns=["mass", "radius"], condition=["mass"])
    with fails("got no columns for x"):
        load(path, condition=["mass", "radius", "flux"])


def test_missing_unknown_and_damaged_files(tmp_path):
    with fails("none.csv: expected a file; it does not exist"):
        load(tmp_path / "none.csv")
    with fails("expected a file, or a folder with pictures .* got a folder without any"):
        load(tmp_path)
    for name in ("table.xlsx", "table"):
        (tmp_path / name).write_bytes(b"1,2")
        with fails(
            r"expected a file that ends in \.npy, \.npz, \.csv, \.parquet, \.h5, \.hdf5; got"
        ):
            load(tmp_path / name)
    for suffix in (".npy", ".npz", ".parquet", ".h5", ".hdf5"):
        path = tmp_path / f"t{suffix}"
        save_array(path, X)
        whole = path.read_bytes()
        for content in (b"", b"not a table", whole[: len(whole) // 2]):
            path.write_bytes(content)
            with fails(f"expected a readable {suffix} file; got an error .*damaged") as caught:
                load(path)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_pickles_are_never_loaded(tmp_path, suffix):
    write = np.save if suffix == ".npy" else np.savez
    with (tmp_path / f"t{suffix}").open("wb") as file:
        write(file, np.array([{}, {}], dtype=object), allow_pickle=True)
    with fails("pickled objects are never loaded"):
        load(tmp_path / f"t{suffix}")


# --- for a model that exists ---------------------------------------------------------------


def test_like_chooses_by_name(csv):
    path = csv("id,b,t,a\n8,2,0,1\n")
    data = load_like(path, names=("a", "b"), condition_names=("t",))
    np.testing.assert_array_equal(data.x, [[1, 2]])
    np.testing.assert_array_equal(data.condition, [[0]])
    with fails("expected columns 'aa', 'c'; got .* Did you mean 'a' for 'aa'"):
        load_like(path, names=("aa", "b", "c"))
    with fails("expected condition column 'tt'; got .* Did you mean 't' for 'tt'"):
        load_like(path, names=("a", "b"), condition_names=("tt",))


def test_like_takes_nameless_columns_in_order(tmp_path):
    np.save(tmp_path / "t.npy", X)
    data = load_like(tmp_path / "t.npy", names=NAMES)
    assert data.names == NAMES
    np.testing.assert_array_equal(data.x, X)
    with fails(r"expected 3 columns for this model \('mass', 'radius', 'flux'\); got 4 \('x0'"):
        load_like(tmp_path / "t.npy", names=NAMES[:3])
    with fails(r"expected 3 columns for this model \('x0', 'x1', 'x2'\); got 4"):
        load_like(tmp_path / "t.npy", names=("x0", "x1", "x2"))
    split = load_like(tmp_path / "t.npy", names=("x0", "x2", "x3"), condition_names=("x1",))
    np.testing.assert_array_equal(split.condition[:, 0], X[:, 1])


def test_like_takes_the_condition_from_its_own_array(tmp_path):
    save_array(tmp_path / "t.npz", X, more={"theta": THETA})
    data = load_like(tmp_path / "t.npz", names=NAMES, condition_names=("theta1", "theta0"))
    np.testing.assert_array_equal(data.condition, THETA[:, ::-1])
    with fails("expected condition column 'phi'"):
        load_like(tmp_path / "t.npz", names=NAMES, condition_names=("phi",))


def test_like_knows_the_columns_that_were_dropped_as_constant(tmp_path):
    x = X.copy()
    x[:, 3] = 2
    np.save(tmp_path / "t.npy", x)
    names = load(tmp_path / "t.npy", drop_constant=True).names
    assert names == ("x0", "x1", "x2")
    np.testing.assert_array_equal(load_like(tmp_path / "t.npy", names=names).x, x[:, :3])


def test_like_matches_a_named_file_to_a_nameless_model_in_order(csv):
    data = load_like(csv("a,b\n1,2\n3,4\n"), names=("x0", "x1"))
    assert data.names == ("x0", "x1")
    np.testing.assert_array_equal(data.x, [[1, 2], [3, 4]])


def test_like_still_refuses_nonsense(csv):
    with fails("NaN or a missing value in row 1, column 'b'"):
        load_like(csv("a,b\n1,\n"), names=("a", "b"))
    with fails("numbers only; got column 'b'"):
        load_like(csv("a,b\n1,x\n"), names=("a", "b"))
    with fails("a header line alone"):
        load_like(csv("a,b\n"), names=("a", "b"))
    np.testing.assert_array_equal(load_like(csv("a,b\n1,1\n"), names=("a", "b")).x, [[1, 1]])


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".parquet", ".csv", ".npz"])
def test_pieces_are_the_table(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(data, "ROWS", 3)
    x = np.arange(40.0).reshape(10, 4)
    path = tmp_path / f"t{suffix}"
    save_array(path, x)
    model = {"names": ("x0", "x2", "x3"), "condition_names": ("x1",)}
    opened, whole = load_like(path, **model, stream=True), load_like(path, **model)
    assert opened.mapped == (suffix in (".npy", ".h5", ".parquet"))
    for pieces in (list(opened.pieces()), list(whole.pieces())):
        assert [len(piece) for piece in pieces] == [3, 3, 3, 1]
        np.testing.assert_array_equal(np.concatenate([piece.x for piece in pieces]), whole.x)
        conditions = np.concatenate([piece.condition for piece in pieces])
        np.testing.assert_array_equal(conditions, whole.condition)

    x[7, 1] = np.nan
    save_array(path, x)
    with fails("NaN or a missing value in row 8, column 'x1'"):
        load_like(path, **model, stream=True)


# --- points of any shape -------------------------------------------------------------------

IMAGES = RNG.normal(size=(30, 4, 3, 2)).astype(np.float32)
IMAGES[:, 0] = 0.5  # a border is constant


def assert_same(found: Data, images: np.ndarray, theta: np.ndarray | None) -> None:
    np.testing.assert_array_equal(found[:].x, images)
    assert (found.shape, found.names) == (images.shape[1:], ())
    assert found.x[:1].dtype == images.dtype
    if theta is not None:
        np.testing.assert_array_equal(found[:].condition, theta)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_images(tmp_path, suffix):
    path, conditional = tmp_path / f"t{suffix}", suffix != ".npy"
    save_array(path, IMAGES, more={"theta": THETA} if conditional else {})
    given, theta = (("theta",), THETA) if conditional else ((), None)
    model = {"condition_names": ("theta0", "theta1") if conditional else (), "shape": (4, 3, 2)}
    assert_same(load(path, condition=given, drop_constant=True), IMAGES, theta)
    assert_same(load_like(path, names=(), **model), IMAGES, theta)
    if suffix != ".npz":
        opened = stream(path, condition=given)
        assert opened.mapped
        assert_same(opened, IMAGES, theta)
        kept, held_out = opened.split(0.2, seed=0)
        assert (kept.shape, held_out.x.shape) == ((4, 3, 2), (6, 4, 3, 2))
    with fails(r"expected points of shape \(4, 4, 2\) for this model; got \(4, 3, 2\)"):
        load_like(path, names=(), shape=(4, 4, 2))
    with fails(r"expected points of shape \(2,\) for this model; got \(4, 3, 2\)"):
        load_like(path, names=("a", "b"))


def test_images_need_no_name(tmp_path):
    np.savez(tmp_path / "t.npz", images=IMAGES, label=np.arange(30))
    assert load(tmp_path / "t.npz", condition=["label"]).shape == (4, 3, 2)
    np.savez(tmp_path / "t.npz", images=IMAGES, points=X)
    with fails("expected an array 'x' of numbers"):
        load(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", x=IMAGES, names=np.array(["a"]))
    with fails("expected 0 names, one for each column of 'x'; got 1"):
        load(tmp_path / "t.npz")


def test_bad_images(tmp_path):
    path = tmp_path / "t.npy"
    for value, what in ((np.nan, "NaN"), (np.inf, "infinite")):
        images = IMAGES.copy()
        images[7, 2, 1, 0] = value
        np.save(path, images)
        for take in (load, stream):
            with fails(rf"t.npy: .*{what}.* in row 8, at \[2, 1, 0\] \(1 in all, in 1 of 30 rows"):
                take(path)
    np.save(path, np.broadcast_to(IMAGES[0], IMAGES.shape))
    with fails("all 30 rows are equal"):
        load(path)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_weights_are_an_array_or_a_column(tmp_path, suffix):
    path, weight = tmp_path / f"t{suffix}", np.linspace(0, 2, 30)
    save_array(path, X, NAMES, more={"theta": THETA, "counts": weight})
    loaded = load(path, condition="theta", weight="counts")
    assert loaded.names == NAMES
    np.testing.assert_array_equal(loaded.weight, weight[1:])  # that of the first row is 0
    np.testing.assert_array_equal(loaded.x, X[1:])
    np.testing.assert_array_equal(loaded.condition, THETA[1:])
    save_array(path, X, NAMES, more={"theta": THETA, "weight": weight})
    with pytest.warns(UserWarning, match="has an array 'weight' that is not used"):
        assert load(path, condition="theta").weight is None


def test_a_column_of_a_table_holds_the_weights_only_if_asked(csv):
    table = csv("a,weight,b\n1,2,3\n4,.5,6\n7,0,9\n2,1,1\n")
    loaded = load(table, weight="weight")
    assert loaded.names == ("a", "b")
    np.testing.assert_array_equal(loaded.weight, [2, 0.5, 1])
    assert load(table).names == ("a", "weight", "b")
    assert load(table).weight is None


def test_wrong_weights_in_a_file(csv, tmp_path):
    with fails("table.csv: expected weights .* not below 0; got -2.0 in row 2"):
        load(csv("a,b,w\n1,2,1\n3,4,-2\n5,7,1\n"), weight="w")
    with fails("expected column of weights 'W'; got columns 'a', 'b', 'w'"):
        load(csv("a,b,w\n1,2,1\n3,4,2\n"), weight="W")
    with fails("one column of weights, no part of x or the condition"):
        load(csv("a,b,w\n1,2,1\n3,4,2\n"), weight="w", condition=("w",))
    np.save(tmp_path / "t.npy", X)
    with fails("points in memory, so that they can be drawn by their weights"):
        stream(tmp_path / "t.npy", weight="x1")
