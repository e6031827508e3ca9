"""Rows read in pieces are the rows of the file."""

import h5py
import numpy as np
import polars as pl
import pytest

from mflows.data import DataError, data, load, mapped, stream

ROWS = 997


def few_numbers(monkeypatch, count: int, rows: int = 100_000) -> None:
    """Read so many numbers at once, and keep a quarter of them, so many rows at most, in memory."""
    monkeypatch.setattr(data, "ROWS", rows)
    for module in (data, mapped):
        monkeypatch.setattr(module, "NUMBERS", count)


@pytest.fixture(params=[".npy", ".h5", ".parquet"])
def path(request, tmp_path, monkeypatch):
    """A table of three columns and, where the format has names, a condition."""
    few_numbers(monkeypatch, 1200)  # pieces of about a hundred rows
    rng = np.random.default_rng(0)
    x, theta = rng.normal(size=(ROWS, 3)).astype(np.float32), rng.normal(size=ROWS)
    path = tmp_path / f"table{request.param}"
    if request.param == ".npy":
        np.save(path, x)
    elif request.param == ".h5":
        with h5py.File(path, "w") as file:
            file["x"], file["theta"] = x, theta
            file["names"] = np.array(["a", "b", "c"], dtype=h5py.string_dtype())
    else:
        frame = pl.DataFrame(x, schema=["a", "b", "c"]).with_columns(theta=pl.Series(theta))
        frame.write_parquet(path, row_group_size=64)
    return path


@pytest.fixture
def condition(path):
    return () if path.suffix == ".npy" else ("theta",)


def test_every_piece_is_the_same_as_in_memory(path, condition):
    whole, found = load(path, condition=condition), stream(path, condition=condition)
    assert found.mapped
    assert not whole.mapped
    assert (len(found), found.shape, found.cond_shape) == (ROWS, whole.shape, whole.cond_shape)
    assert (found.names, found.condition_names) == (whole.names, whole.condition_names)
    start = 0
    for part in found.pieces():
        assert not part.mapped
        assert len(part) <= 100
        rows = slice(start, start + len(part))
        assert np.array_equal(part.x, whole.x[rows])
        assert part.x.dtype == whole.x.dtype
        if condition:
            assert np.array_equal(part.condition, whole.condition[rows])
        start += len(part)
    assert start == ROWS


def test_rows_by_index_are_those_in_memory(path, condition):
    whole, found = load(path, condition=condition), stream(path, condition=condition)
    kept = found.split(0.05, seed=0).kept
    left = np.concatenate([part.x for part in kept.pieces()])
    rng = np.random.default_rng(1)
    for rows in (
        slice(3, 40),
        slice(None, None, 7),
        slice(-5, None),
        [4, 900, 0, 4, -1],
        rng.permutation(ROWS - 100)[:500],
    ):
        assert np.array_equal(found[rows].x, whole.x[rows])
        assert np.array_equal(kept[rows].x, left[rows])
    assert np.array_equal(found[-1].x, whole.x[-1:])
    mask = whole.x[:, 0] > 1
    assert np.array_equal(found[mask].x, whole.x[mask])
    assert np.array_equal(np.asarray(found.x), whole.x)
    with pytest.raises(IndexError, match="indices of 997 rows"):
        found[[ROWS]]


def test_a_split_is_disjoint_complete_and_repeatable(path, condition, monkeypatch):
    few_numbers(monkeypatch, 1200, rows=90)
    whole = load(path, condition=condition).x
    found = stream(path, condition=condition)
    kept, held_out = found.split(0.07, seed=3)
    assert len(held_out) == round(0.07 * ROWS)
    assert len(kept) == ROWS - len(held_out)
    parts = [piece.x for piece in kept.pieces()]
    together = np.concatenate([*parts, held_out.x])
    assert np.array_equal(np.unique(together, axis=0), np.unique(whole, axis=0))
    again = found.split(0.07, seed=3).held_out
    assert np.array_equal(again.x, held_out.x)
    assert not np.array_equal(found.split(0.07, seed=4).held_out.x, held_out.x)

    inner, second = kept.split(0.05, seed=0)  # of what is left, the same again
    parts = [piece.x for piece in inner.pieces()]
    together = np.concatenate([*parts, second.x, held_out.x])
    assert np.array_equal(np.unique(together, axis=0), np.unique(whole, axis=0))


def test_a_sample_is_rows_of_the_file_at_most_as_many_as_fit(path):
    kept, held_out = stream(path).split(0.05, seed=0)
    rows = {tuple(row) for row in load(path).x}
    sample = {tuple(row) for row in kept.sample(50, seed=1).x}
    assert len(sample) == 50
    assert sample <= rows - {tuple(row) for row in held_out.x}
    assert len(kept.sample(10**9, seed=1)) == 300 // len(kept.names)


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_a_bad_value_is_found_with_its_row(tmp_path, monkeypatch, value, what):
    few_numbers(monkeypatch, 30)
    x = np.random.default_rng(0).normal(size=(100, 3))
    x[57, 1] = value
    np.save(tmp_path / "t.npy", x)
    with pytest.raises(DataError, match=rf"t.npy: .*{what}.* in row 58, column 'x1'"):
        stream(tmp_path / "t.npy")


def test_columns_constant_over_all_pieces(tmp_path, monkeypatch):
    few_numbers(monkeypatch, 30)
    x = np.random.default_rng(0).normal(size=(100, 3))
    x[:, 0] = 2.0
    x[:, 1] = np.arange(100) // 50  # constant in every piece but two
    np.save(tmp_path / "t.npy", x)
    with pytest.raises(DataError, match="constant column 'x0'"):
        stream(tmp_path / "t.npy")
    assert stream(tmp_path / "t.npy", drop_constant=True).names == ("x1", "x2")


def test_what_cannot_be_read_in_pieces(tmp_path):
    pl.DataFrame({"a": [1.0, 2.0], "b": [1.0, 3.0]}).write_csv(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"t\.csv: expected a file that can be read in pieces, "):
        stream(tmp_path / "t.csv")


def test_a_file_damaged_in_its_middle(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame(np.random.default_rng(0).normal(size=(1000, 2))).write_parquet(path)
    content = bytearray(path.read_bytes())
    content[40:4000] = bytes(3960)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet: expected a readable \.parquet file"):
        stream(path)
