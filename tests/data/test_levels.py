"""8-bit levels as points, dequantisation, mirror images."""

import numpy as np
import pytest

from mflows.data import (
    Data,
    DataError,
    dequantised,
    from_levels,
    load,
    save_array,
    stream,
    to_levels,
    with_mirror_images,
)

LEVELS = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)


@pytest.fixture
def data():
    return Data(from_levels(LEVELS), np.arange(4.0)[:, None], weight=np.arange(1.0, 5.0))


def test_levels_come_back():
    x = from_levels(LEVELS)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x.astype(np.float64), (LEVELS + 0.5) / 256)
    np.testing.assert_array_equal(to_levels(x), LEVELS)
    np.testing.assert_array_equal(to_levels([-1.0, 0.0, 1.0, 2.0]), [0, 0, 255, 255])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5"])
def test_arrays_of_bytes_are_levels_where_points_have_axes(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    save_array(path, LEVELS)
    found = load(path)
    np.testing.assert_array_equal(found.x, from_levels(LEVELS))
    assert found.notes == (
        f"x{suffix}: 4 pictures of 8 x 8 x 1 in 8-bit levels; level k as (k + 1/2) / 256.",
    )
    for other in (LEVELS.reshape(4, 64), LEVELS.astype(np.int16), LEVELS / np.float32(255)):
        save_array(path, other)
        found = load(path)
        np.testing.assert_array_equal(found.x, other)  # a table, or numbers of one's own
        assert not found.notes


def test_dequantised_points_fill_the_interval_of_their_level(data):
    many = Data(np.repeat(data.x, 500, axis=0))
    found = dequantised(many, (7, 0))
    assert found.x.dtype == np.float32
    np.testing.assert_array_equal(to_levels(found.x), to_levels(many.x))
    u = np.sort((found.x.astype(np.float64) * 256 - to_levels(found.x)).ravel())
    assert np.abs(u - np.linspace(0, 1, len(u))).max() < 1.63 / np.sqrt(len(u))  # Kolmogorov, 1%
    assert 0 < u[0] < u[-1] < 1
    np.testing.assert_array_equal(found.x, dequantised(many, (7, 0)).x)
    assert not np.array_equal(found.x, dequantised(many, (7, 1)).x)


def test_other_numbers_are_not_dequantised(data):
    with pytest.raises(DataError, match="8-bit levels to dequantise: a folder.*from 0 to 1"):
        dequantised(Data(LEVELS / np.float32(255)), 0)


def test_mirror_images_follow_the_pictures(data):
    both = with_mirror_images(data, data[:1])
    np.testing.assert_array_equal(both.x[:4], data.x)
    np.testing.assert_array_equal(both.x[4:], data.x[:, :, ::-1])
    np.testing.assert_array_equal(both.condition, np.tile(data.condition, (2, 1)))
    np.testing.assert_array_equal(both.weight, np.tile(data.weight, 2))
    assert both.notes == ("Beside 4 pictures to train on are 4 mirror images.",)


def test_no_mirror_image_is_one_that_is_held_out(data):
    held_out = Data(data.x[2:3, :, ::-1], data.condition[2:3])
    both = with_mirror_images(data, held_out)
    assert len(both) == 7
    assert not (both.x == held_out.x).all(axis=(1, 2, 3)).any()


def test_what_has_no_mirror_image_is_refused(data, tmp_path):
    with pytest.raises(DataError, match=r"points of shape \(H, W, C\), for flips; got rows of 64"):
        with_mirror_images(Data(data.x.reshape(4, 64)), data)
    scored = Data(data.x, data.condition, joint_score=data.condition)
    with pytest.raises(DataError, match="without joint scores for flips"):
        with_mirror_images(scored, data)
    np.save(tmp_path / "x.npy", LEVELS)
    streamed = stream(tmp_path / "x.npy")
    with pytest.raises(DataError, match="in memory for dequantise; got pictures that stay"):
        dequantised(streamed, 0)
