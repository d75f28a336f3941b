"""PNG: the errors for damaged files, and the chunks that are kept."""

import struct
import zlib

import numpy as np
import pytest

from styleid.media.containers.errors import BadFileError
from styleid.media.formats import png
from styleid.media.formats.parse.exif import Density
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples
from tests.media.samples import png_chunk

MOST = 10**6
SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY = samples.noise(channels=1)
HALVES = np.where(np.arange(53) < 25, 2, 1) + np.zeros((37, 1), int)
DEEP = samples.noise(dtype=np.uint16)


def header(width=2, height=2, bits=8, colour=0, method=0, filters=0, interlaced=0) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, method, filters, interlaced))


def made(*chunks: bytes, pixels: bytes = bytes(6)) -> bytes:
    """Return a PNG of some chunks, whose unfiltered rows come last."""
    return SIGNATURE + b"".join(chunks) + png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND", b"")


def unsound(chunk: bytes) -> bytes:
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


DAMAGED = {
    "no header": (made(png_chunk(b"tEXt", b"a\0b")), "it does not begin with its header"),
    "no chunks but the end": (SIGNATURE + png_chunk(b"IEND", b""), "it does not begin with its header"),
    "a short header": (made(png_chunk(b"IHDR", bytes(12))), "it does not begin with its header"),
    "altered by Xcode": (
        made(png_chunk(b"CgBI", bytes(4)), header()),
        r"iPhone apps \(CgBI\)\. Convert it",
    ),
    "colour type": (made(header(colour=1)), "a depth or colour type that does not exist"),
    "depth": (made(header(bits=16, colour=3)), "a depth or colour type that does not exist"),
    "method": (made(header(method=1)), "a depth or colour type that does not exist"),
    "interlacing": (made(header(interlaced=2)), "a depth or colour type that does not exist"),
    "checksum": (made(header(), unsound(png_chunk(b"pHYs", bytes(9)))), "its pHYs chunk has a wrong checksum"),
    "no pixels": (SIGNATURE + header() + png_chunk(b"IEND", b""), "it holds no pixels"),
    "no palette": (made(header(colour=3)), "its palette is missing or of a wrong length"),
    "half a colour": (made(header(colour=3), png_chunk(b"PLTE", bytes(4))), "palette is missing or of a wrong"),
    "too many colours": (made(header(colour=3), png_chunk(b"PLTE", bytes(771))), "palette is missing or of a wrong"),
    "deep pixels cut": (made(header(bits=16, colour=2), pixels=bytes(25)), "ends inside the PNG's pixels"),
    "deep pixels that do not inflate": (
        SIGNATURE + header(bits=16, colour=2) + png_chunk(b"IDAT", b"x\x9c\xff\xff") + png_chunk(b"IEND", b""),
        "its pixels cannot be decompressed",
    ),
    "deep pixels of an unknown filter": (
        made(header(bits=16, colour=2), pixels=(b"\x09" + bytes(12)) * 2),
        "the PNG's pixels cannot be decoded",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str) -> None:
    data, says = DAMAGED[name]
    with pytest.raises(BadFileError, match=says):
        png.decode(data, MOST)


def test_unsound_chunks_that_are_not_read_do_no_harm() -> None:
    assert png.decode(made(header(), unsound(png_chunk(b"tEXt", b"a\0b"))), MOST).raster.size == (2, 2)


@pytest.mark.parametrize(
    ("body", "density"),
    [
        (struct.pack(">IIB", 2835, 1000, 1), Density(28.35, 10.0, 3)),
        (struct.pack(">IIB", 2, 1, 0), Density(2, 1, 1)),
        (struct.pack(">IIB", 1, 1, 0), None),
        (struct.pack(">IIB", 0, 0, 1), None),
        (b"short", None),
    ],
)
def test_densities_and_the_shape_of_pixels_are_kept(body: bytes, density: Density | None) -> None:
    photo = read_photo_bytes(made(header(), png_chunk(b"pHYs", body)), "a.png")
    assert photo.kept.density == density
    written = encode_photo(photo, photo.image_rgb, np.zeros((2, 2), bool))
    kept = [b for k, b in samples.read_png(written)[3].items() if k == b"pHYs"]
    assert kept == ([] if density is None else [body])


@pytest.mark.parametrize(
    "body",
    [b"n" * 80 + b"\0\0" + zlib.compress(b"x"), b"name\0\1" + zlib.compress(b"x"), b"name\0\0no stream", b"name"],
    ids=["name", "method", "stream", "nothing"],
)
def test_a_damaged_profile_is_left_out_and_named(body: bytes) -> None:
    decoded = png.decode(made(header(), png_chunk(b"iCCP", body)), MOST)
    assert decoded.kept.icc_profile is None
    assert decoded.notes == ("the colour profile was left out: it is damaged or for another colour space",)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (samples.png(GREY, 8, 0, png_chunk(b"tRNS", b"\0\x07")), (7,)),
        (samples.png(HALVES, 2, 0, png_chunk(b"tRNS", b"\xff\xfe")), (2,)),
        (samples.png(DEEP, 16, 2, png_chunk(b"tRNS", b"\1\2\3\4\5\6")), (0x102, 0x304, 0x506)),
        (samples.png(GREY, 8, 0, png_chunk(b"tRNS", b"\7")), None),
    ],
    ids=["grey", "2 bits", "16 bits", "a wrong length"],
)
def test_the_transparent_colour_stays_the_only_one(data: bytes, key: tuple[int, ...] | None) -> None:
    photo = read_photo_bytes(data, "a.png")
    assert photo.raster.key == key
    mask = samples.region(photo.image_rgb.shape)
    new = np.full_like(photo.image_rgb, 0 if key is None else key[0] * 255 // ((1 << photo.raster.bits) - 1))
    again = read_photo_bytes(encode_photo(photo, new, mask), "a.png")
    assert again.raster.key == key
    if key is not None:
        before, after = ((p.raster.samples.reshape(*mask.shape, -1) == np.array(key)).all(-1) for p in (photo, again))
        assert np.array_equal(before, after)


@pytest.mark.parametrize("profile", [False, True])
def test_small_colour_chunks_are_kept_and_srgb_only_without_a_profile(profile: bool) -> None:
    chunks = [png_chunk(b"gAMA", struct.pack(">I", 45455)), png_chunk(b"sRGB", b"\0")]
    if profile:
        chunks.append(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(samples.rgb_profile())))
    photo = read_photo_bytes(samples.png(samples.smooth(), 8, 2, *chunks), "a.png")
    table = samples.read_png(encode_photo(photo, photo.image_rgb, np.zeros((37, 53), bool)))[3]
    assert b"gAMA" in table
    assert (b"sRGB" in table, b"iCCP" in table) == (not profile, profile)


def test_large_pictures_are_not_deflated_at_the_slowest_level() -> None:
    grey = np.zeros((1500, 1400), np.uint8)
    assert png.decode(samples.pillow(grey, "PNG", compress_level=9), 3 * MOST).encoding.level == 7
    assert png.decode(samples.pillow(grey[:10], "PNG", compress_level=9), MOST).encoding.level == 9
