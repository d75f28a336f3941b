"""WebP: the errors for damaged files."""

import struct

import numpy as np
import pytest

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.riff import riff_chunk
from styleid.media.formats import webp
from tests.media import samples

MOST = 10**6
LOSSY = samples.pillow(samples.smooth(), "WEBP")
LOSSLESS = samples.pillow(samples.smooth(), "WEBP", lossless=True)


def made(*chunks: bytes) -> bytes:
    body = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def frame(x: int, width: int, height: int) -> bytes:
    sides = (n.to_bytes(3, "little") for n in (x, 0, width - 1, height - 1))
    return riff_chunk(b"ANMF", b"".join(sides) + bytes(4) + LOSSY[12:])


def canvas(width: int, height: int) -> bytes:
    return riff_chunk(b"VP8X", b"\2\0\0\0" + b"".join((n - 1).to_bytes(3, "little") for n in (width, height)))


DAMAGED = {
    "no picture": (made(riff_chunk(b"EXIF", b"x")), "it holds no picture"),
    "lossless header cut": (made(riff_chunk(b"VP8L", b"\x2f\0")), "the WebP's picture header"),
    "lossless without its mark": (made(riff_chunk(b"VP8L", bytes(9))), "the WebP's picture header"),
    "lossy header cut": (made(riff_chunk(b"VP8 ", bytes(4))), "the WebP's picture header"),
    "lossy without its mark": (made(riff_chunk(b"VP8 ", bytes(12))), "the WebP's picture header"),
    "pixels cut": (made(riff_chunk(b"VP8 ", LOSSY[20:32])), "pixels cannot be decoded"),
    "a frame within its canvas": (made(canvas(80, 60), frame(4, 53, 37)), "its animation has no header"),
    "a frame without a canvas": (made(frame(0, 53, 37)), "its animation has no header"),
    "two frames": (made(canvas(53, 37), *[frame(0, 53, 37)] * 2), "its animation has no header"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str) -> None:
    data, says = DAMAGED[name]
    with pytest.raises(BadFileError, match=says):
        webp.decode(data, MOST)


def test_bytes_behind_the_picture_are_left_out_and_named() -> None:
    assert webp.decode(LOSSLESS + b"more", MOST).notes == ("left out: 4 bytes after the picture",)


@pytest.mark.parametrize("quality", [5, 40, 75, 90, 100])
@pytest.mark.parametrize("segments", [1, 4])
def test_a_second_encoding_uses_the_same_quantisers(quality: int, segments: int) -> None:
    picture = samples.smooth(200, 200)
    if segments == 1:
        picture = np.ascontiguousarray(picture[:16, :16])
    first = webp.decode(samples.pillow(picture, "WEBP", quality=quality), MOST)
    again = webp.decode(samples.pillow(picture, "WEBP", quality=first.encoding.quality), MOST)
    assert abs(first.encoding.quality - quality) <= 8
    assert abs(again.encoding.quality - first.encoding.quality) <= 3
