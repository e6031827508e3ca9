"""Tables as pandas, R and instruments write them, and rows that are odd in them."""

import os
import resource
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from mflows.data import STREAM_FORMATS, Data, DataError, load, load_like, save_array, stream
from mflows.data.moments import moments
from mflows.estimator import ManifoldFlow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
FRAME = pd.DataFrame(X, columns=["h", "l", "v"])


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME[FRAME.h > 0],
        FRAME.sample(frac=1, random_state=0),
        FRAME.set_index(np.arange(1, 41)),
        FRAME.set_index(pd.Index([f"row {i}" for i in range(40)])),
    ],
    ids=["whole", "subset", "shuffled", "from 1", "labels"],
)
def test_row_labels_of_pandas_are_no_coordinate(tmp_path, frame):
    frame.to_csv(tmp_path / "t.csv")
    found = load(tmp_path / "t.csv")
    assert found.names == ("h", "l", "v")
    np.testing.assert_allclose(found.x, frame.to_numpy())
    pd.read_csv(tmp_path / "t.csv").to_csv(tmp_path / "again.csv")  # which writes 'Unnamed: 0'
    assert load(tmp_path / "again.csv").names == ("h", "l", "v")
    np.testing.assert_array_equal(load_like(tmp_path / "t.csv", names=["h", "l", "v"]).x, found.x)


def test_the_index_of_a_parquet_file_is_no_coordinate(tmp_path):
    import polars as pl

    columns = {**{name: FRAME[name].to_numpy() for name in FRAME}, "__index_level_0__": range(40)}
    pl.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet").names == ("h", "l", "v")


def test_row_names_of_r_are_no_coordinate(tmp_path):
    lines = [f'"{i + 1}",{a},{b},{c}' for i, (a, b, c) in enumerate(X)]
    (tmp_path / "t.csv").write_text("\n".join(['"","h","l","v"', *lines]))
    assert load(tmp_path / "t.csv").names == ("h", "l", "v")


def test_a_column_without_a_name_that_holds_data_is_refused(tmp_path):
    lines = [",".join(map(str, row)) for row in X]
    (tmp_path / "t.csv").write_text("\n".join([",l,v", *lines]))
    with pytest.raises(DataError, match="expected a name for every column; got none for column 1"):
        load(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "header", ["400,410,420.5", "1990,1991,1992", "0,1,2", "1.5e3,1.6e3,1.7e3", "30,20,10"]
)
def test_a_header_of_numbers_is_no_row(tmp_path, header):
    lines = [",".join(map(str, row)) for row in X]
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = load(tmp_path / "t.csv")
    assert found.names == tuple(header.split(","))
    np.testing.assert_array_equal(found.x, X)
    assert header == "0,1,2" or "is taken for the names of the columns" in str(told[0].message)


@pytest.mark.parametrize("first", ["0.5,0.1,-0.3", "1,2,3", "-2,-1.5,0", "5,1,3"])
def test_a_first_row_like_the_others_is_a_row(tmp_path, first):
    rows = np.round(X * 4) if first == "1,2,3" else X * 4
    if first == "1,2,3":  # a table in which rows of equal steps are common
        rows[:, 1:] = rows[:, :1] + np.arange(1, 3) * np.round(rows[:, 1:2])
    lines = [",".join(map(str, row)) for row in rows]
    (tmp_path / "t.csv").write_text("\n".join([first, *lines]))
    assert len(load(tmp_path / "t.csv")) == 41


def test_a_name_with_brackets_is_no_pattern(tmp_path):
    for name, value in (("q1.csv", 1.0), ("q[1].csv", 2.0)):
        pd.DataFrame(X + value, columns=["h", "l", "v"]).to_csv(tmp_path / name, index=False)
    np.testing.assert_allclose(load(tmp_path / "q[1].csv").x, X + 2)


def test_text_is_shown_with_its_row(tmp_path):
    frame = FRAME.astype(object)
    frame.iloc[6, 1] = "n.d."
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"column 'l' with text or other values \('n.d.' in row 7"):
        load(tmp_path / "t.csv")


def test_masked_values_are_missing():
    masked = np.ma.masked_greater(X, 1)
    with pytest.raises(DataError, match="NaN or a missing value"):
        Data(masked)
    with pytest.raises(ValueError, match=r"NaN.*row .*column"):
        ManifoldFlow(1).fit(masked)
    np.testing.assert_array_equal(Data(np.ma.array(X)).x, X)


def test_objects_are_numbers_or_named():
    nullable = FRAME.convert_dtypes()
    np.testing.assert_allclose(Data(nullable.to_numpy(dtype=object)).x, X)
    nullable.iloc[3, 2] = pd.NA
    with pytest.raises(DataError, match=r"missing value in row 4, column 'x2'"):
        Data(nullable.to_numpy(dtype=object))
    objects = X.astype(object)
    objects[5, 1] = "high"
    with pytest.raises(DataError, match=r"got 'high' in row 6, column 2"):
        Data(objects)


def test_the_estimator_names_what_it_cannot_use():
    for value in (np.nan, np.inf, "high"):
        frame = FRAME.astype(object)
        frame.iloc[4, 1] = value
        with pytest.raises(ValueError, match=r"in row 4, column 'l'"):
            ManifoldFlow(1).fit(frame)


def test_repeated_rows_stay_on_one_side(tmp_path):
    rows = np.repeat(X[:20], 5, axis=0)[np.random.default_rng(1).permutation(100)]
    kept, held_out = Data(rows).split(0.2, seed=0)
    seen, unseen = ({tuple(row) for row in part.x} for part in (kept, held_out))
    assert not seen & unseen
    assert len(kept) + len(held_out) == 100
    assert 15 <= len(held_out) <= 25
    plain = Data(X).split(0.2, seed=0)
    assert len(plain.held_out) == 8


def test_moments_are_those_of_the_bulk_where_few_rows_make_them():
    x = np.random.default_rng(0).normal(3, 2, size=(2000, 3))
    np.testing.assert_allclose(moments(x).centre, x.mean(0))
    np.testing.assert_allclose(moments(x).scale, x.std(0))
    bad = x.copy()
    bad[7, 1] = 2e6
    found = moments(bad)
    assert found.dominated.tolist() == [False, True, False]
    np.testing.assert_allclose(found.centre[1], 3, atol=0.2)
    np.testing.assert_allclose(found.scale[1], 2, rtol=0.1)
    rare = np.zeros((1000, 1))
    rare[:3] = 1  # a feature that is rare and not wrong
    assert not moments(rare).dominated.any()
    wide = np.zeros((30, 1000))
    wide[7, 1] = 2e6  # of features of a network, which are often near 0
    wide += x[:30, :1]
    np.testing.assert_allclose(moments(wide).scale, wide.std(0))
    assert moments(1e200 * x).scale == pytest.approx(1e200 * x.std(0))


def test_hdf5_reads_no_other_file(tmp_path):
    (tmp_path / "secret.bin").write_bytes(X.astype("<f8").tobytes())
    external = [(str(tmp_path / "secret.bin"), 0, X.nbytes)]
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("x", X.shape, "<f8", external=external)
    with pytest.raises(DataError, match="whose values are in other files"):
        load(tmp_path / "t.h5")
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["x"] = X
    layout = h5py.VirtualLayout(X.shape, "<f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "source.h5"), "x", X.shape)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(DataError, match="whose values are in other files"):
        load(tmp_path / "v.h5")


def test_an_archive_that_swells_is_refused(tmp_path, monkeypatch):
    from mflows.data import read

    monkeypatch.setattr(read, "SWOLLEN", 1 << 20)
    np.savez_compressed(tmp_path / "t.npz", x=np.zeros((100_000, 2)))
    with pytest.raises(DataError, match="bytes when unpacked"):
        load(tmp_path / "t.npz")


SUFFIXES = (".npy", ".npz", ".csv", ".parquet", ".h5")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_name_that_is_not_utf_8(tmp_path, suffix):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9" + suffix.encode()))
    save_array(path, X, ("a", "b", "c"))
    np.testing.assert_allclose(load(path).x, X)
    if suffix in STREAM_FORMATS:
        np.testing.assert_allclose(stream(path).x[:], X)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_file_of_before(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    save_array(path, X[:2], ("a", "b", "c"))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises((OSError, DataError)):
            save_array(path, RNG.normal(size=(10_000, 3)), ("a", "b", "c"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_reading_wide_tables_takes_time_in_proportion(tmp_path):
    """Quadratic in the columns, it would take 16 times as long for 4 times as many."""
    seconds = {}
    for columns in (1000, 4000):
        path = tmp_path / f"{columns}.csv"
        np.savetxt(path, RNG.normal(size=(30, columns)), delimiter=",")
        load(path)  # and what is imported then
        start = time.perf_counter()
        assert load(path).x.shape == (30, columns)
        seconds[columns] = time.perf_counter() - start
    assert seconds[4000] < 10 * seconds[1000]
