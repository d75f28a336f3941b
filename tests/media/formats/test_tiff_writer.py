"""TIFFs are written by tifffile where it can store everything, and otherwise by our own writer."""

import io
from dataclasses import replace

import numpy as np
import PIL
import pytest
import tifffile

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.formats.parse.allowed import ALLOWED_TAGS
from styleid.media.formats.parse.ifd import Field
from styleid.media.formats.raster import Layout, Raster
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples

pytestmark = pytest.mark.versions
_ZSTD = "zstd" if int(PIL.__version__.split(".")[0]) >= 12 else "adobe_deflate"
"""Pillow 11 reads no TIFF that was compressed with Zstandard."""


def tags_of(data: bytes) -> set[int]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return {tag.code for tag in file.pages[0].tags}


@pytest.mark.parametrize("metadata", ["strip", "safe"])
@pytest.mark.parametrize(
    ("array", "options"),
    [
        (samples.smooth(), {"photometric": "rgb", "compression": "lzw", "predictor": True}),
        (samples.smooth(dtype=np.uint16), {"photometric": "rgb", "compression": _ZSTD}),
        (samples.smooth(channels=1), {"photometric": "miniswhite", "compression": "lzma"}),
    ],
)
def test_whoever_writes_it_reads_the_same(array, options, metadata) -> None:
    """tifffile writes all but small samples and exposure fields; both hold the same pixels and allowed tags."""
    extra = [(274, "H", 1, 6, True), (315, "s", 0, "Jane", True)]
    source = samples.tiff(array, extratags=extra, resolution=(300, 200), resolutionunit="CENTIMETER", **options)
    photo = read_photo_bytes(source, "a.tif")
    exposure = (Field(34855, 3, (200,)),)
    for kept in (photo.kept, replace(photo.kept, exposure=exposure)):
        mask = np.zeros(photo.image_rgb.shape[:2], bool)
        out = encode_photo(replace(photo, kept=kept), photo.image_rgb, mask, metadata)
        assert np.array_equal(tifffile.imread(io.BytesIO(out)), array)
        assert find_leftovers(out, metadata) == []
        exposed = metadata == "safe" and bool(kept.exposure)
        assert (34665 in tags_of(out)) == exposed
        assert tags_of(out) <= ALLOWED_TAGS | {34665}
        again = read_photo_bytes(out, "a.tif")
        assert (again.orientation, again.kept.density) == (6, photo.kept.density)
        assert again.encoding == photo.encoding
        assert again.kept.exposure == (exposure if exposed else ())


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_small_samples_stay_small(bits: int, compression) -> None:
    source = samples.tiff(samples.smooth(channels=1), photometric="minisblack", compression=compression)
    photo = read_photo_bytes(source, "a")
    raster = Raster(photo.raster.samples >> (8 - bits), Layout.GREY, bits)
    out = encode_photo(replace(photo, raster=raster), photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    again = read_photo_bytes(out, "a").raster
    assert (again.bits, again.layout) == (bits, Layout.GREY)
    assert np.array_equal(again.samples, raster.samples)
    assert find_leftovers(out, "strip") == []


def test_pixels_beyond_four_gigabytes_are_refused() -> None:
    photo = read_photo_bytes(samples.tiff(samples.smooth(channels=1), photometric="minisblack"), "a.tif")
    huge = np.lib.stride_tricks.as_strided(photo.raster.samples, (1 << 16, 1 << 16), (0, 0), writeable=False)
    large = replace(photo, raster=replace(photo.raster, samples=huge))
    with pytest.raises(ImageError, match="more than the 4 GiB that a TIFF can hold"):
        encode_photo(large, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
