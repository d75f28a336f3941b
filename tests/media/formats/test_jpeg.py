"""JPEG: the errors for damaged files, and the segments that are kept."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.containers.errors import BadFileError
from styleid.media.containers.jpeg import jpeg_parts
from styleid.media.formats import jpeg
from styleid.media.formats.parse.exif import Density
from styleid.media.formats.raster import Layout
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples
from tests.media.samples import jpeg_segment, with_jpeg_segments

MOST = 10**6
RGB = samples.smooth()
PLAIN = samples.pillow(RGB, "JPEG")
CMYK = samples.pillow(Image.frombytes("CMYK", (53, 37), samples.smooth(channels=4).tobytes()), "JPEG")


def frame(*components: tuple[int, int, int], marker: int = 0xC0, bits: int = 8, count: int | None = None) -> bytes:
    body = struct.pack(">BHHB", bits, 8, 8, len(components) if count is None else count)
    return jpeg_segment(marker, body + b"".join(bytes(one) for one in components))


def bare(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xd9"


DAMAGED = {
    "no frame": (bare(), "it has no frame header"),
    "a frame that is cut": (bare(jpeg_segment(0xC0, bytes(5))), "it has no frame header"),
    "components cut": (bare(frame((1, 17, 0), count=3)), "its frame header is too short"),
    "no components": (bare(frame()), "its frame header is too short"),
    "lossless": (bare(frame((1, 17, 0), marker=0xC3)), "it is a lossless JPEG"),
    "12 bits": (bare(frame((1, 17, 0), bits=12)), "a JPEG of 12 bits per sample"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str) -> None:
    data, says = DAMAGED[name]
    with pytest.raises(BadFileError, match=says):
        jpeg.decode(data, MOST)


@pytest.mark.parametrize(
    "data",
    [bare(frame((1, 17, 0), (2, 17, 0))), PLAIN.replace(b"\1\x22\0", b"\1\x22\3", 1)],
    ids=["two components", "a table that is missing"],
)
def test_what_the_decoder_refuses_is_damaged(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"a\.jpg: it cannot be decoded: the file is damaged or cut short"):
        read_photo_bytes(data, "a.jpg")


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [((1, 2), True), ((2, 1), True), ((1,), False), ((1, 3), False), ((), None)],
    ids=["in order", "turned round", "one missing", "a gap", "none"],
)
def test_profiles_are_put_together_from_their_pieces(pieces: tuple[int, ...], kept: bool | None) -> None:
    whole = samples.rgb_profile()
    halves = {1: whole[: len(whole) // 2], 2: whole[len(whole) // 2 :], 3: whole[len(whole) // 2 :]}
    segments = [
        jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(pieces)]) + halves[number]) for number in pieces
    ]
    decoded = jpeg.decode(with_jpeg_segments(PLAIN, *segments), MOST)
    assert (decoded.kept.icc_profile is not None) == bool(kept)
    assert bool(decoded.notes) == (kept is False)


@pytest.mark.parametrize(
    ("unit", "x", "y", "density"),
    [
        (1, 300, 300, Density(300, 300, 2)),
        (2, 118, 59, Density(118, 59, 3)),
        (0, 2, 1, Density(2, 1, 1)),
        (0, 1, 1, None),
        (7, 300, 300, None),
        (1, 0, 0, None),
    ],
)
@pytest.mark.parametrize("colours", ["RGB", "CMYK"])
def test_densities_are_kept(unit: int, x: int, y: int, density: Density | None, colours: str) -> None:
    jfif = jpeg_segment(0xE0, b"JFIF\0\1\1" + struct.pack(">BHH", unit, x, y) + b"\0\0")
    given = CMYK if colours == "CMYK" else b"\xff\xd8" + PLAIN[2 + 18 :]
    photo = read_photo_bytes(given[:2] + jfif + given[2:], "a.jpg")
    assert photo.kept.density == density
    written = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    assert find_leftovers(written, "strip") == []
    again = read_photo_bytes(written, "a.jpg")
    assert again.kept.density == density
    assert again.raster.layout is (Layout.CMYK if colours == "CMYK" else Layout.RGB)


@pytest.mark.parametrize(
    ("sampling", "code"),
    [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)],
)
def test_subsampling_is_kept(sampling: str, code: int) -> None:
    photo = read_photo_bytes(samples.pillow(RGB, "JPEG", subsampling=sampling), "a.jpg")
    assert photo.encoding.subsampling == code
    written = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    parts = {s.marker: s.payload for s in jpeg_parts(written).segments}
    assert parts[0xC0][7] == {0: 0x11, 1: 0x21, 2: 0x22}[code]


def test_colours_that_are_stored_as_rgb_stay_so() -> None:
    photo = read_photo_bytes(samples.pillow(RGB, "JPEG", keep_rgb=True), "a.jpg")
    assert photo.encoding.rgb_coded
    written = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    assert read_photo_bytes(written, "a.jpg").encoding.rgb_coded


@pytest.mark.parametrize("quality", [1, 100])
@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}], ids=str)
def test_noise_at_the_finest_tables_finds_room(quality: int, options: dict[str, bool]) -> None:
    """Pillow's one-shot modes guess a buffer from the pixels, which such a picture does not fit."""
    noise = samples.noise(64, 64)
    photo = read_photo_bytes(samples.pillow(noise, "JPEG", quality=quality, subsampling=0, **options), "a.jpg")
    written = encode_photo(photo, photo.image_rgb, np.zeros((64, 64), bool))
    again = read_photo_bytes(written, "a.jpg")
    assert again.encoding.tables == photo.encoding.tables
    assert again.encoding.progressive == photo.encoding.progressive == ("progressive" in options)


def test_where_the_tuned_encoding_fails_the_plain_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = read_photo_bytes(samples.pillow(RGB, "JPEG", progressive=True), "a.jpg")
    save = Image.Image.save

    def full(self, out, *arguments, **options):
        if options.get("progressive"):
            raise OSError("encoder error -2 when writing image file")
        save(self, out, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    written = encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))
    assert not read_photo_bytes(written, "a.jpg").encoding.progressive
    assert Image.open(io.BytesIO(written)).size == (53, 37)
