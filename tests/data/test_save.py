import numpy as np
import pytest

from mflows.data import DataError, check_output, load, save_array, save_table
from mflows.data.save import WRITERS

SUFFIXES = tuple(WRITERS)
COLUMNS = {"log_prob": np.array([-1.5, 2.25, 1 / 3]), "distance": np.array([1, 2, 3])}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_table_round_trip(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    save_table(path, COLUMNS)
    data = load(path)
    np.testing.assert_array_equal(data.x, np.stack(list(COLUMNS.values()), axis=1))
    assert data.names == (tuple(COLUMNS) if suffix != ".npy" else ("x0", "x1"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_csv_is_plain(tmp_path):
    save_table(tmp_path / "t.csv", COLUMNS)
    assert (tmp_path / "t.csv").read_text().splitlines()[:2] == ["log_prob,distance", "-1.5,1"]


def test_npz_keeps_arrays_by_name(tmp_path):
    save_array(tmp_path / "t.npz", np.eye(3), ("a", "b", "c"), more={"theta": np.ones((3, 1))})
    with np.load(tmp_path / "t.npz", allow_pickle=False) as file:
        assert {k: file[k].shape for k in file} == {"x": (3, 3), "names": (3,), "theta": (3, 1)}
        assert file["names"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_leaves_the_old_file(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"t{suffix}"
    save_table(path, COLUMNS)
    before = path.read_bytes()

    def half(file, arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setitem(WRITERS, suffix, half)
    with pytest.raises(OSError, match="disk full"):
        save_table(path, COLUMNS)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_outputs_are_checked_before_the_work(tmp_path):
    assert check_output(str(tmp_path / "t.CSV")) == tmp_path / "t.CSV"
    for name, message in {
        "t.xlsx": r"expected an output file that ends in .*; got '\.xlsx'",
        "t": "got 'no ending'",
        "no/t.csv": "expected an existing folder; create",
    }.items():
        for call in (
            check_output,
            lambda p: save_table(p, COLUMNS),
            lambda p: save_array(p, [[1]]),
        ):
            with pytest.raises(DataError, match=message):
                call(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="expected a file name; got a folder"):
        check_output(tmp_path / "folder.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.csv"]


@pytest.mark.parametrize(
    ("suffix", "arguments", "message"),
    [
        (".npz", ([1.0, 2.0],), r"an array of shape \(rows, columns\) .*; got \(2,\)"),
        (".npz", (np.ones((2, 2, 2)), ("a",)), "expected 0 different names; got"),
        (".csv", (np.ones((2, 2, 2)),), r"of shape \(2, 2\). Write them to a .npy, .npz or .h5"),
        (".npz", (np.eye(2), ("a",)), "expected 2 different names; got"),
        (".npz", (np.eye(2), ("a", "a")), "expected 2 different names; got"),
        (".npz", (np.eye(2), (), {"theta": np.ones(3)}), r"arrays of 2 rows; got .*\(3,\)"),
        (".npz", (np.eye(2), (), {"names": np.ones(2)}), "names of their own"),
        (".csv", (np.eye(2), (), {"x0": np.ones(2)}), "names of their own"),
        (".npy", (np.eye(2), (), {"theta": np.ones(2)}), r"expected \.npz or \.h5 for theta too"),
    ],
)
def test_wrong_arrays(tmp_path, suffix, arguments, message):
    array, names, more = (*arguments, (), None)[:3] if len(arguments) < 3 else arguments
    with pytest.raises(DataError, match=message):
        save_array(tmp_path / f"t{suffix}", array, names, more=more)
    assert not list(tmp_path.iterdir())


def test_columns_of_different_length(tmp_path):
    with pytest.raises(DataError, match=r"columns of one shape \(rows,\); got a \(2,\), b \(3,\)"):
        save_table(tmp_path / "t.csv", {"a": np.ones(2), "b": np.ones(3)})
    with pytest.raises(DataError, match="got none"):
        save_table(tmp_path / "t.csv", {})
