"""GIF: the errors for damaged files, and full palettes."""

import struct

import numpy as np
import pytest

from styleid.errors import ImageError
from styleid.media.containers.errors import BadFileError
from styleid.media.formats import gif
from styleid.media.formats.kept import Kept
from styleid.media.formats.raster import Layout, Palette, Raster
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples

MOST = 10**6
HEAD = b"GIF89a\x02\0\x02\0\x80\0\0" + bytes(3) + b"\xff" * 3


def picture(left=0, top=0, width=2, height=2) -> bytes:
    return b"," + struct.pack("<HHHH", left, top, width, height) + b"\0\2\2\x84\x51\0"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (HEAD + b";", "the GIF holds no picture"),
        (HEAD + picture(left=1) + b";", "its picture reaches beyond its canvas"),
        (HEAD + picture(top=1) + b";", "its picture reaches beyond its canvas"),
        (HEAD + picture(width=0) + b";", "0 x 2 pixels, which cannot be a picture"),
        (HEAD + picture() * 2 + b";", "animated GIF of 2 pictures"),
    ],
)
def test_damage_is_named(data: bytes, says: str) -> None:
    with pytest.raises(BadFileError, match=says):
        gif.decode(data, MOST)


def test_bytes_behind_the_picture_are_left_out_and_named() -> None:
    data = samples.pillow(samples.noise(channels=1), "GIF")
    assert gif.decode(data + b"\0\0", MOST).notes == ()
    assert gif.decode(data + b"more", MOST).notes == ("left out: 4 bytes after the picture",)


def test_a_gif_without_any_palette_is_black() -> None:
    raster = gif.decode(b"GIF87a\x02\0\x02\0\0\0\0" + picture() + b";", MOST).raster
    assert not raster.palette.colours.any()


def test_rasters_without_a_palette_are_no_gif() -> None:
    raster = Raster(np.zeros((2, 2), np.uint8), Layout.GREY)
    rgb = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="must have a palette"):
        gif.repaint(raster, rgb, rgb, np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="must have a palette"):
        gif.encode(raster, Kept(), gif.GifEncoding(), "strip")


def all_colours(*, transparent: bool = False) -> Raster:
    """Return a raster of 256 colours, all in use."""
    table = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    alphas = np.zeros(256, np.uint8) if transparent else None
    samples_ = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(2, axis=0)
    return Raster(samples_, Layout.PALETTE, 8, Palette(table, alphas))


def test_where_no_colour_is_free_the_nearest_serves() -> None:
    raster = all_colours()
    old = raster.palette.colours[raster.samples]
    mask = np.zeros((32, 16), bool)
    mask[::2] = True
    new = np.clip(old.astype(int) + 3, 0, 255).astype(np.uint8)
    out = gif.repaint(raster, old, new, mask)
    assert np.array_equal(out.palette.colours, raster.palette.colours)
    gaps = ((new[:, :, None].astype(int) - out.palette.colours) ** 2).sum(-1)
    shown = np.take_along_axis(gaps, out.samples[..., None].astype(int), -1)[..., 0]
    assert np.array_equal(shown[mask], gaps.min(-1)[mask])
    assert np.array_equal(out.samples[~mask], raster.samples[~mask])


def test_transparent_pixels_stay_so() -> None:
    raster = all_colours(transparent=True)
    old = raster.palette.colours[raster.samples]
    assert gif.repaint(raster, old, 255 - old, np.ones((32, 16), bool)) is raster


def test_a_canvas_without_a_free_colour_is_refused() -> None:
    data = bytearray(samples.pillow(all_colours().samples, "GIF", optimize=False, interlace=0))
    data[6:10] = struct.pack("<HH", 17, 33)
    with pytest.raises(ImageError, match=r"does not cover its canvas and no colour is free\. Save it as PNG"):
        read_photo_bytes(bytes(data), "a.gif")


def test_new_pixels_of_a_grey_gif_are_grey() -> None:
    photo = read_photo_bytes(samples.pillow(samples.noise(channels=1) & 0xF0, "GIF"), "a.gif")
    mask = samples.region(photo.image_rgb.shape)
    again = read_photo_bytes(encode_photo(photo, samples.smooth(seed=4), mask), "a.gif")
    assert (again.image_rgb == again.image_rgb[..., :1]).all()
    assert np.array_equal(again.image_rgb[~mask], photo.image_rgb[~mask])
