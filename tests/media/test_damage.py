"""Damaged files are refused with the right error, and never decoded to another picture."""

import random
import zlib

import numpy as np
import pytest

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.image import read_photo_bytes
from tests.media import samples
from tests.media.test_read import DEEP, EIGHT_BIT, RGBA

WHOLE = EIGHT_BIT | {
    "png 16 bit": samples.opencv(DEEP, ".png"),
    "png 16 bit grey": samples.png(DEEP[..., 0], 16, 0),
    "tiff 16 bit deflate": samples.tiff(DEEP, photometric="rgb", compression="zlib", predictor=True),
    "tiff 16 bit raw": samples.tiff(DEEP, photometric="rgb"),
    "tiff tiles": samples.tiff(samples.smooth(80, 96), photometric="rgb", tile=(32, 32)),
    "tiff lzw large": samples.pillow(samples.noise(60, 300), "TIFF", compression="tiff_lzw"),
    "tiff packbits": samples.pillow(RGBA, "TIFF", compression="packbits"),
    "jpeg soiled": samples.soiled_jpeg(samples.smooth(), 6),
    "webp alpha lossy": samples.pillow(RGBA, "WEBP"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_is_refused_or_lost_no_pixel(name: str) -> None:
    data = WHOLE[name]
    whole = read_photo_bytes(data, "photo").image_rgb
    cuts = {*range(1, 64), *range(64, len(data), max(1, len(data) // 60)), *range(max(64, len(data) - 40), len(data))}
    refused = 0
    for cut in sorted(cuts):
        try:
            photo = read_photo_bytes(data[:cut], "photo")
        except ImageError:
            refused += 1
        else:
            assert np.array_equal(photo.image_rgb, whole), cut
    assert refused >= len(cuts) // 2


LARGE = samples.noise(200, 200)


@pytest.mark.parametrize("data", [
    samples.pillow(LARGE, "JPEG"),
    samples.pillow(LARGE, "JPEG", progressive=True),
    samples.pillow(LARGE, "PNG"),
    samples.opencv(LARGE.astype(np.uint16) * 257, ".png"),
    samples.pillow(LARGE, "WEBP"),
    samples.pillow(LARGE, "WEBP", lossless=True),
    samples.pillow(LARGE, "GIF"),
    samples.pillow(LARGE, "AVIF"),
    samples.heic(LARGE),
    samples.pillow(LARGE, "JXL"),
    samples.pillow(LARGE, "JXL", lossless=True),
    samples.pillow(LARGE, "TIFF", compression="tiff_lzw"),
], ids=["jpeg", "progressive", "png", "png16", "webp", "webp lossless", "gif", "avif", "heic", "jxl", "jxl lossless",
       "tiff"])  # fmt: skip
def test_a_file_whose_second_half_never_arrived_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        read_photo_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2), "photo")


@pytest.mark.parametrize("name", WHOLE)
def test_flipped_bytes_raise_nothing_else(name: str) -> None:
    data, rng = WHOLE[name], random.Random(0)
    for _ in range(60):
        soiled = bytearray(data)
        for _ in range(rng.choice([1, 1, 3, 20])):
            soiled[rng.randrange(4, min(len(soiled), rng.choice([64, 400, 10**6])))] = rng.randrange(256)
        try:
            read_photo_bytes(bytes(soiled), "photo", max_pixels=1_000_000)
        except ImageError as error:
            assert len(str(error)) > 20
        assert isinstance(find_leftovers(bytes(soiled)), list)


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"PLTE"])
def test_a_wrong_png_checksum_is_refused(kind: bytes) -> None:
    data = bytearray(EIGHT_BIT["png palette"])
    data[data.index(kind) + 5] ^= 1
    with pytest.raises(ImageError, match=f"its {kind.decode()} chunk has a wrong checksum"):
        read_photo_bytes(bytes(data), "photo.png")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_a_png_stream_that_ends_early_is_refused(bits: int, colour: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    array = samples.noise(channels=channels, dtype=np.uint16 if bits == 16 else np.uint8)
    data = samples.png(array, bits, colour)
    at, end = data.index(b"IDAT"), len(data) - 16
    rows = zlib.decompress(data[at + 4 : end])
    head, tail = data[: at - 4], data[-12:]
    for body in (zlib.compress(rows[: len(rows) // 2]), zlib.compress(rows)[:-300], b"", b"x\x9c", zlib.compress(b"")):
        with pytest.raises(ImageError):
            read_photo_bytes(head + samples.png_chunk(b"IDAT", body) + tail, "photo.png")


@pytest.mark.parametrize("tail", [b"", bytes(100), b"\xff"])
def test_a_jpeg_without_its_end_marker_is_refused(tail: bytes) -> None:
    with pytest.raises(ImageError, match="cut short"):
        read_photo_bytes(EIGHT_BIT["jpeg"][:-2] + tail, "photo.jpg")
