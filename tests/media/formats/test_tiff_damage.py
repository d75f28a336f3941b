"""TIFFs of rare kinds, built tag by tag: which are read, and the errors for the others."""

import struct

import numpy as np
import pytest

from styleid.media.containers.errors import BadFileError
from styleid.media.formats import tiff
from styleid.media.formats.raster import Layout
from tests.media import samples

MOST = 10**6
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, ROWS, COUNTS = (
    *(256, 257, 258, 259, 262, 273, 277, 278, 279),
)
PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 317, 320, 322, 323, 324, 325
PLANAR, FILL_ORDER, EXTRA, FORMAT = 284, 266, 338, 339

GREY = {WIDTH: 2, HEIGHT: 2, BITS: 8, COMPRESSION: 1, PHOTOMETRIC: 1, OFFSETS: 8, SAMPLES: 1, ROWS: 2, COUNTS: 4}


def made(tags: dict[int, int | tuple[int, ...] | None], pixels: bytes = b"\1\2\3\4") -> bytes:
    """Return a TIFF of GREY's tags and some others, all of them 32-bit numbers; its pixels begin at byte 8."""
    tags = {tag: value for tag, value in sorted((GREY | tags).items()) if value is not None}
    at = 8 + len(pixels)
    behind_at = at + 2 + 12 * len(tags) + 4
    table, behind = struct.pack("<H", len(tags)), b""
    for tag, value in tags.items():
        values = value if isinstance(value, tuple) else (value,)
        raw = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            raw, behind = struct.pack("<I", behind_at + len(behind)), behind + raw
        table += struct.pack("<HHI", tag, 4, len(values)) + raw.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", at) + pixels + table + bytes(4) + behind


DAMAGED = {
    "no page": (b"II*\0" + bytes(8), "it holds no page"),
    "another order": (b"XX*\0" + bytes(8), "does not begin like a TIFF"),
    "another number": (b"II\x2c\0" + bytes(8), "does not begin like a TIFF"),
    "big, of another form": (b"II+\0\4\0\0\0" + bytes(12), "does not begin like a TIFF"),
    "directory outside": (b"II*\0\xff\0\0\0", "ends inside a directory"),
    "directory cut": (b"II*\0\x08\0\0\0\x05\0", "ends inside a directory"),
    "pages in a circle": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "its list of pages has a loop or is too long"),
    "values outside": (
        b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 256, 4, 9, 500) + bytes(4),
        "the values of TIFF or EXIF tag 256",
    ),
    "a camera's file": (made({PHOTOMETRIC: 32803}), "it is a camera's raw file"),
    "pixels outside": (made({COUNTS: 4000}), "ends inside the TIFF's pixels"),
    "tiles of nothing": (made({TILE_WIDTH: 0, TILE_HEIGHT: 16, TILE_OFFSETS: 8, TILE_COUNTS: 4}), "0 x 16 pixels"),
    "huge tiles": (made({TILE_WIDTH: 9999, TILE_HEIGHT: 9999, TILE_OFFSETS: 8, TILE_COUNTS: 4}), "over the limit"),
    "compression": (made({COMPRESSION: 6}), r"its compression \(6\) cannot be read"),
    "colours": (made({PHOTOMETRIC: None}), r"its colour model \(-1\) cannot be read"),
    "signed": (made({FORMAT: 2}), "it holds signed or floating-point numbers"),
    "different depths": (made({BITS: (8, 8, 4), SAMPLES: 3, PHOTOMETRIC: 2}), r"its depth \(8, 8, 4 bits\)"),
    "12 bits": (made({BITS: 12}), r"its depth \(12 bits\)"),
    "4 bits of colour": (made({BITS: 4, SAMPLES: 3, PHOTOMETRIC: 2}), r"its depth \(4 bits\)"),
    "two extra channels": (made({SAMPLES: 3, EXTRA: (2, 2)}), r"its 3 channels \(2 of them extra\) cannot be kept"),
    "a palette with alpha": (made({SAMPLES: 2, EXTRA: 2, PHOTOMETRIC: 3}), "an extra channel that cannot be kept"),
    "a palette of 16 bits": (made({BITS: 16, PHOTOMETRIC: 3}), "the way it stores pixels cannot be read"),
    "planes of a third kind": (made({PLANAR: 3}), "the way it stores pixels cannot be read"),
    "another predictor": (made({PREDICTOR: 3}), "the way it stores pixels cannot be read"),
    "a short palette": (made({PHOTOMETRIC: 3, COLOUR_MAP: (1, 2, 3)}), "its palette has a wrong length"),
    "fax of colours": (made({COMPRESSION: 4, SAMPLES: 3, PHOTOMETRIC: 2, EXTRA: (0, 0)}), "fax compression whose 3"),
    "JPEG of unknown colours": (made({COMPRESSION: 7, PHOTOMETRIC: 9}), r"\(0 of them extra, colours: kind 9\)"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_refused_and_why(name: str) -> None:
    data, says = DAMAGED[name]
    with pytest.raises(BadFileError, match=says):
        tiff.decode(data, MOST)


@pytest.mark.parametrize(
    ("tags", "pixels", "samples_", "layout"),
    [
        ({}, b"\1\2\3\4", [[1, 2], [3, 4]], Layout.GREY),
        ({COUNTS: None}, b"\1\2\3\4", [[1, 2], [3, 4]], Layout.GREY),
        ({PREDICTOR: 2}, b"\1\2\3\4", [[1, 3], [3, 7]], Layout.GREY),
        ({PHOTOMETRIC: 0}, b"\1\2\3\4", [[254, 253], [252, 251]], Layout.GREY),
        ({BITS: 16, COUNTS: 8}, b"\1\0\2\0\0\1\0\2", [[1, 2], [256, 512]], Layout.GREY),
        ({BITS: 4, COUNTS: 2}, b"\x12\x34", [[1, 2], [3, 4]], Layout.GREY),
        ({BITS: 1, COUNTS: 2, FILL_ORDER: 2}, b"\1\2", [[1, 0], [0, 1]], Layout.GREY),
        (
            {SAMPLES: 3, BITS: (8, 8, 8), PHOTOMETRIC: 2, PLANAR: 2, ROWS: 2, OFFSETS: (8, 12, 16), COUNTS: (4, 4, 4)},
            bytes(range(12)),
            [[[0, 4, 8], [1, 5, 9]], [[2, 6, 10], [3, 7, 11]]],
            Layout.RGB,
        ),
        ({SAMPLES: 2, BITS: (8, 8), COUNTS: 8}, bytes(range(8)), [[[0, 1], [2, 3]], [[4, 5], [6, 7]]],
         Layout.GREY_ALPHA),
    ],
    ids=["plain", "no lengths", "differences", "white is zero", "16", "4", "reversed bits", "planes", "unsaid alpha"],
)  # fmt: skip
def test_rare_ways_of_storing_are_undone(tags, pixels, samples_, layout) -> None:
    raster = tiff.decode(made(tags, pixels), MOST).raster
    assert raster.layout is layout
    assert raster.samples.tolist() == samples_


def test_tiles_with_differences_are_put_together() -> None:
    array = samples.smooth(40, 50)
    data = samples.tiff(array, photometric="rgb", tile=(16, 16), compression="zlib", predictor=True)
    decoded = tiff.decode(data, MOST)
    assert np.array_equal(decoded.raster.samples, array)
    assert decoded.encoding == tiff.TiffEncoding("tiff_adobe_deflate", 2, False, None)


def test_fields_of_unknown_types_are_passed_over() -> None:
    data = bytearray(made({65000: 7}))
    at = data.index(struct.pack("<HH", 65000, 4))
    data[at + 2] = 99
    assert tiff.decode(bytes(data), MOST).raster.samples.tolist() == [[1, 2], [3, 4]]


def test_a_directory_may_end_with_the_file() -> None:
    data = made({})
    assert tiff.decode(data[:-4], MOST).raster.samples.tolist() == [[1, 2], [3, 4]]
