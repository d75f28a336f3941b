"""TIFFs with JPEG compression are written with Deflate, in the same colours."""

import io

import numpy as np
import pytest
from PIL import Image

from styleid.errors import ImageError
from styleid.media.formats.raster import Layout
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples

FOUR = np.dstack([samples.smooth(), samples.smooth(channels=1, seed=3)])


def jpeg_tiff(array, mode):
    return samples.pillow(Image.fromarray(array).convert(mode) if mode == "YCbCr" else with_mode(array, mode), "TIFF",
                          compression="jpeg", quality=90)  # fmt: skip


def with_mode(array, mode):
    return Image.frombytes(mode, array.shape[1::-1], np.ascontiguousarray(array).tobytes())


@pytest.mark.parametrize(
    ("array", "mode", "layout"),
    [
        (FOUR, "CMYK", Layout.CMYK),
        (FOUR, "RGBA", Layout.RGB_ALPHA),
        (FOUR[..., 2:], "LA", Layout.GREY_ALPHA),
        (FOUR[..., :3], "YCbCr", Layout.RGB),
        (FOUR[..., 0], "L", Layout.GREY),
    ],
)
def test_jpeg_compression_becomes_deflate(array, mode, layout):
    data = jpeg_tiff(array, mode)
    photo = read_photo_bytes(data, "photo.tif")
    assert photo.raster.layout is layout
    assert any("replaced by lossless Deflate" in note for note in photo.notes)
    out = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(out)) as after:
        assert after.tag_v2[259] == 8
        assert after.mode == ("RGB" if mode == "YCbCr" else before.mode)
        assert np.array_equal(np.asarray(before), np.asarray(after))


def test_what_cannot_be_kept_names_its_colours():
    data = jpeg_tiff(FOUR[..., :3], "YCbCr")
    photometric = b"\x06\x01\x03\0\x01\0\0\0"
    assert photometric + b"\x06\0" in data
    inks = data.replace(photometric + b"\x06\0", photometric + b"\x05\0")
    with pytest.raises(ImageError, match=r"JPEG compression whose 3 channels .*CMYK.* Save it with Deflate"):
        read_photo_bytes(inks, "photo.tif")


@pytest.mark.parametrize(("kind", "known"), [("unspecified", False), ("unassalpha", True), ("assocalpha", True)])
def test_it_is_known_whether_a_channel_is_alpha(kind, known):
    photo = read_photo_bytes(samples.tiff(FOUR, photometric="rgb", extrasamples=[kind]), "photo.tif")
    assert photo.raster.known_as_alpha is known
