"""A folder of pictures: what becomes of every kind, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from mflows.data import DataError, from_levels, load, load_like, stream, to_levels
from mflows.data.folder import digest_of_folder

RNG = np.random.default_rng(0)


def fails(message: str):
    return pytest.raises(DataError, match=message)


def draw(path, height: int, width: int, *channels: int):
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = RNG.integers(256, size=(height, width, *channels), dtype=np.uint8)
    Image.fromarray(levels).save(path)
    return levels


@pytest.fixture
def folder(tmp_path):
    """Two pictures in colour of one size, in the folder and in one within it."""
    levels = [draw(tmp_path / "pics" / name, 5, 6, 3) for name in ("b.png", "a/z.bmp")]
    return tmp_path / "pics", np.stack(levels[::-1])


def test_points_are_the_levels_in_the_order_of_paths(folder):
    path, levels = folder
    data = load(path)
    assert (data.x.dtype, data.names) == (np.float32, ())
    np.testing.assert_array_equal(data.x, (levels + 0.5) / 256)
    (note,) = data.notes
    assert note == "pics: 2 pictures, in colour, of 5 x 6; level k as (k + 1/2) / 256."
    streamed = stream(path)
    assert streamed.mapped
    np.testing.assert_array_equal(streamed.x[:], data.x)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp"])
def test_formats_and_sizes(tmp_path, suffix):
    """A step from dark to bright is where it was, in the middle of what is cropped."""
    for number, (width, height) in enumerate(((90, 40), (40, 90), (200, 200))):
        levels = np.full((height, width), 20, np.uint8)
        levels[:, width // 2 :] = 220 + number
        Image.fromarray(levels).save(tmp_path / f"{number}{suffix}")
    data = load(tmp_path)
    assert data.shape == (32, 32, 1)
    assert "grey, centre-cropped and resized to 32 x 32" in data.notes[0]
    np.testing.assert_allclose(data.x[:, :, :12], 20.5 / 256, atol=0.03)
    np.testing.assert_allclose(data.x[:, :, 20:], 220.5 / 256, atol=0.03)
    assert load(tmp_path, size=7).shape == (7, 7, 1)


def test_large_pictures_of_one_size_are_resized(tmp_path):
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, 65, 20, 3)
    assert load(tmp_path).shape == (32, 32, 3)


def test_every_kind_of_picture_has_its_meaning(tmp_path):
    """Transparency lies on white, palettes are colours, 16 bits lose 8, orientation turns."""
    grey = np.array([[0, 60], [120, 255]], np.uint8)
    clear = np.stack([grey, np.array([[255, 0], [255, 0]], np.uint8)], axis=-1)
    expected = {
        "alpha": (Image.fromarray(clear), [[0, 255], [120, 255]]),
        "16 bits": (Image.fromarray(grey.astype(np.uint16) * 256 + 99), grey),
        "bilevel": (Image.fromarray(grey > 99), [[0, 0], [255, 255]]),
        "clear palette": (Image.fromarray(grey).convert("P"), [[0, 255], [120, 255]]),
        "palette": (Image.fromarray(grey).convert("P"), grey),
        "plain": (Image.fromarray(grey), grey),
        "turned": (Image.fromarray(grey), np.rot90(grey, -1)),
    }
    expected["clear palette"][0].info["transparency"] = 60
    for name, (image, _) in expected.items():
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "turned" else 1
        image.save(tmp_path / f"{name}.png", exif=exif)
    found = load(tmp_path).x
    assert found.shape[3] == 1
    for picture, (name, (_, levels)) in zip(found, sorted(expected.items()), strict=True):
        np.testing.assert_array_equal(to_levels(picture[..., 0]), levels, err_msg=name)


def test_one_picture_in_colour_makes_three_channels(tmp_path):
    grey = draw(tmp_path / "a.png", 4, 4)
    assert load_like(tmp_path, names=(), shape=(4, 4, 3)).shape == (4, 4, 3)
    draw(tmp_path / "b.png", 4, 4, 3)
    data = load(tmp_path)
    np.testing.assert_array_equal(data.x[0], np.repeat(from_levels(grey)[..., None], 3, axis=-1))
    with fails(r"expected grey pictures for this model, shape \(2, 2, 1\); got 1 in colour"):
        load_like(tmp_path, names=(), shape=(2, 2, 1))


@pytest.mark.parametrize("shape", [(4,), (4, 4), (4, 4, 2)])
def test_models_of_other_points_are_told_from_pictures(folder, shape):
    names = tuple("abcd") if len(shape) == 1 else ()
    with fails(r"pics: expected points of shape \(4,.* for this model; got a folder of pictures"):
        load_like(folder[0], names=names, shape=shape)


def test_damaged_files_are_listed_and_left_out(folder):
    path, levels = folder
    (path / "cut.png").write_bytes((path / "b.png").read_bytes()[:60])
    (path / "no.jpg").write_bytes(b"no picture")
    (path / ".hidden.png").write_bytes(b"")
    (path / "notes.txt").write_text("no picture")
    message = r"pics: 2 of 4 pictures could not be read and are left out: 'cut.png', 'no.jpg'"
    with pytest.warns(UserWarning, match=message):
        data = load(path)
    np.testing.assert_array_equal(to_levels(data.x), levels)
    assert data.notes[0].endswith("; 2 could not be read.")


def test_a_folder_without_a_picture_that_can_be_read(tmp_path):
    with fails(r"expected a file, or a folder with pictures \(.png, .jpg,.*Name a file in it, or"):
        load(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with fails(r"got 1 files of which none can \('a.png': no picture of a known format\). Are"):
        load(tmp_path)
    draw(tmp_path / "a.png", 4, 4)
    with fails("expected at least two rows; got one row"):
        load(tmp_path)


@pytest.mark.parametrize("pixels", [29, 14])  # Pillow warns of more, and refuses twice as many
@pytest.mark.parametrize("size", [None, 4])
def test_a_decompression_bomb_is_refused(folder, monkeypatch, pixels, size):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    message = f"expected a picture of at most {pixels} pixels, Pillow's limit.*Take it out of the"
    with fails(message):
        load(folder[0], size=size)


def test_a_size_that_makes_no_sense(folder, tmp_path):
    for size in (0, -1, 1025):
        with pytest.raises(
            ValueError, match=f"size of pictures from 1 to 1,024 pixels; got {size}"
        ):
            load(folder[0], size=size)
    np.save(tmp_path / "x.npy", np.eye(3))
    with fails("x.npy: expected a folder of pictures to resize to 8 x 8; got another path"):
        load(tmp_path / "x.npy", size=8)


def test_the_digest_is_of_names_and_contents(folder):
    path, _ = folder
    before = digest_of_folder(path)
    (path / "notes.txt").write_text("no picture")
    assert digest_of_folder(path) == before
    (path / "b.png").rename(path / "c.png")
    renamed = digest_of_folder(path)
    with (path / "c.png").open("ab") as file:
        file.write(b"\0")
    assert len({before, renamed, digest_of_folder(path)}) == 3
