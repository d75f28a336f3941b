"""BMP: every header, and the errors for damaged files."""

import struct

import numpy as np
import pytest

from styleid.media.containers.errors import BadFileError
from styleid.media.formats import bmp
from styleid.media.formats.raster import Layout
from styleid.media.image import encode_photo, read_photo_bytes

MOST = 10**6


def header(size=40, *, width=2, height=2, bits=24, compression=0, colours=0, masks=b"", at=None) -> bytes:
    """Return the header of a bitmap; its pixels follow masks and nothing else unless `at` says so."""
    info = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, 0, 2835, 2835, colours, 0)
    info = (info + masks).ljust(size, b"\0") if size > 40 else info + masks
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(info) if at is None else at) + info


def os2(bits: int, palette: bytes, rows: bytes) -> bytes:
    start = 26 + len(palette)
    return b"BM" + struct.pack("<IHHIIHHHH", 0, 0, 0, start, 12, 2, 2, 1, bits) + palette + rows


MASKS = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)

DAMAGED = {
    "too short": (b"BM" + bytes(20), "ends inside the BMP header"),
    "header cut": (header()[:40], "ends inside the BMP header"),
    "an unknown header": (header(44), "its header of 44 bytes is of an unknown kind"),
    "masks cut": (header(compression=3, bits=32, masks=bytes(8)), "ends inside the BMP header"),
    "depth": (header(bits=2), r"cannot be read \(2 bits, compression 0\)"),
    "a depth of no masks": (header(bits=24, compression=3, masks=bytes(12)), r"\(24 bits, compression 3\)"),
    "embedded JPEG": (header(bits=0, compression=4), r"\(0 bits, compression 4\)"),
    "pixels cut": (header() + bytes(15), "the BMP's pixels"),
    "no palette": (header(bits=8) + bytes(8), "its palette is missing"),
    "a mask with a hole": (header(bits=32, compression=3, masks=MASKS[:8] + b"\x05\0\0\0") + bytes(16), "0x5 is no"),
    "an empty mask": (header(bits=32, compression=3, masks=MASKS[:8] + bytes(4)) + bytes(16), "0x0 is no colour mask"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str) -> None:
    data, says = DAMAGED[name]
    with pytest.raises(BadFileError, match=says):
        bmp.decode(data, MOST)


def test_the_old_header_of_os2_is_read() -> None:
    palette = b"\0\0\xff" + b"\xff\0\0"  # red, blue
    raster = bmp.decode(os2(1, palette, b"\x80\0\0\0\x40\0\0\0"), MOST).raster
    assert raster.layout is Layout.PALETTE
    assert raster.palette.colours.tolist() == [[255, 0, 0], [0, 0, 255]]
    assert raster.samples.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("mark", [b"DEBM", b"KNIL"])
def test_a_colour_profile_is_left_out_and_named(mark: bytes) -> None:
    data = bytearray(header(124, masks=MASKS, at=138) + bytes(16))
    data[70:74] = mark
    decoded = bmp.decode(bytes(data), MOST)
    assert decoded.notes == ("the colour profile of the BMP was left out",)
    assert decoded.kept.density is not None


def test_declared_alpha_stays_declared() -> None:
    pixels = bytes(range(16))
    photo = read_photo_bytes(header(108, bits=32, compression=3, masks=MASKS, at=122) + pixels, "a.bmp")
    assert photo.raster.layout is Layout.RGB_ALPHA
    again = read_photo_bytes(encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool)), "a.bmp")
    assert again.encoding == photo.encoding == bmp.BmpEncoding(declared_alpha=True)
    assert np.array_equal(again.raster.samples, photo.raster.samples)


def test_an_alpha_mask_of_nothing_is_no_alpha() -> None:
    data = header(56, bits=32, compression=3, masks=MASKS[:12] + bytes(4), at=70) + bytes(range(16))
    decoded = bmp.decode(data, MOST)
    assert decoded.raster.layout is Layout.RGB
    assert not decoded.encoding.declared_alpha


@pytest.mark.parametrize(
    ("palette", "layout", "bits"),
    [
        (bytes(v for grey in range(256) for v in (grey, grey, grey, 0)), Layout.GREY, 8),
        (b"\0\0\0\0\xff\xff\xff\0", Layout.GREY, 1),
        (b"\0\0\xff\0\xff\0\0\0", Layout.PALETTE, 8),
    ],
    ids=["grey", "black and white", "colours"],
)
def test_run_lengths_are_read_whatever_the_palette(palette: bytes, layout: Layout, bits: int) -> None:
    runs = b"\2\1\0\0\1\0\1\1\0\1"
    at = 54 + len(palette)
    head = header(bits=8, compression=1, colours=len(palette) // 4, at=at)
    raster = bmp.decode(head + palette + runs, MOST).raster
    assert (raster.layout, raster.bits) == (layout, bits)
    assert raster.samples.tolist() == [[0, 1], [1, 1]]
