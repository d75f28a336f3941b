"""Quantisers read from bitstreams equal those that the encoders chose."""

import io

import numpy as np
import pytest

from styleid.media.formats.avif import quality_of
from styleid.media.formats.parse.av1 import base_quantiser
from styleid.media.formats.parse.isobmff import read_heif
from styleid.media.image import read_photo_bytes
from tests.media import samples

pytestmark = pytest.mark.versions

PHOTO = samples.smooth(120, 170)


@pytest.mark.parametrize("quality", range(5, 100, 10))
def test_webp_quality_is_found(quality: int) -> None:
    photo = read_photo_bytes(samples.pillow(PHOTO, "WEBP", quality=quality), "photo.webp")
    assert photo.encoding.quality == pytest.approx(quality, abs=3)


def test_webp_quality_is_monotonous() -> None:
    found = [
        read_photo_bytes(samples.pillow(PHOTO, "WEBP", quality=q), "photo.webp").encoding.quality
        for q in range(1, 101, 9)
    ]
    assert found == sorted(found)


def quantiser(data: bytes) -> int | None:
    return base_quantiser(b"".join(data[start:end] for start, end in read_heif(data).picture().places))


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (65, 200), (1, 1), (300, 1300)])
@pytest.mark.parametrize("speed", [6, 9])
def test_avif_quantiser_falls_as_quality_rises(size: tuple[int, int], speed: int) -> None:
    found = [
        quantiser(samples.pillow(samples.smooth(*size), "AVIF", quality=q, speed=speed))
        for q in (0, 25, 50, 75, 90, 100)
    ]
    assert None not in found
    assert found[0] == 255
    assert found[-1] == 0
    assert found == sorted(found, key=lambda v: -(v or 0))


@pytest.mark.parametrize("quality", [20, 50, 63, 80, 99])
def test_the_same_quantiser_is_asked_for_again(quality: int) -> None:
    index = quantiser(samples.pillow(PHOTO, "AVIF", quality=quality))
    assert quantiser(samples.pillow(PHOTO, "AVIF", quality=quality_of(index))) == index


@pytest.mark.parametrize("tiles", [0, 1, 2])
def test_tiles_do_not_mislead(tiles: int) -> None:
    wide = np.tile(PHOTO, (6, 6, 1))
    plain = quantiser(samples.pillow(wide, "AVIF", quality=60, speed=10))
    cut = samples.pillow(wide, "AVIF", quality=60, speed=10, tile_cols=tiles, tile_rows=tiles, autotiling=False)
    assert quantiser(cut) == plain


@pytest.mark.parametrize("stream", [b"", b"\x0a", b"\x0a\x0b" + bytes(11), bytes(200), b"\xff" * 200, b"\x32\x05\x10"])
def test_a_stream_that_cannot_be_told_is_none(stream: bytes) -> None:
    assert base_quantiser(stream) is None


def test_a_bundle_of_icc_and_exif_does_not_hide_the_picture() -> None:
    data = samples.pillow(PHOTO, "AVIF", exif=samples.exif(5), xmp=samples.XMP, icc_profile=samples.rgb_profile())
    file = read_heif(data)
    assert file.picture().kind == b"av01"
    assert {item.kind for item in file.items.values()} == {b"av01", b"Exif", b"mime"}
    assert io.BytesIO(data).read(12)[4:] == b"ftypavif"
