"""JPEG XL: properties that are kept, its header, and refused files."""

import io
import sys

import numpy as np
import pillow_jxl
import pytest
from PIL import Image

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.containers.errors import BadFileError
from styleid.media.formats.parse.jxl import (
    JXL_SIGNATURE,
    JXL_TYPE,
    ExtraChannel,
    JxlHead,
    jxl_box,
    jxl_exif,
    jxl_head,
    jxl_parts,
)
from styleid.media.formats.raster import upright
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples

pytestmark = pytest.mark.versions

RGB = samples.smooth(200, 248)
LOSSY = samples.pillow(RGB, "JXL", quality=90)
LOSSLESS = samples.pillow(RGB, "JXL", lossless=True)


def low(value: int, count: int) -> str:
    """Return a number's bits, the lowest first."""
    return f"{value:0{count}b}"[::-1] if count else ""


def size(width: int = 248, height: int = 200) -> str:
    return "1" + low(height // 8 - 1, 5) + low(0, 3) + low(width // 8 - 1, 5)


def large(width: int, height: int) -> str:
    return "0" + low(3, 2) + low(height - 1, 30) + low(0, 3) + low(3, 2) + low(width - 1, 30)


DEPTH_8, DEPTH_16 = "000", "0" + low(3, 2) + low(15, 6)
FLOAT = "1" + low(1, 2) + low(4, 4)
SRGB, PLAIN = "1", "0" + "0"
P3 = "00" + low(0, 2) + low(1, 2) + low(2, 2) + low(9, 4) + "0" + low(2, 2) + low(11, 4) + low(1, 2)
NO_MORE = "00" + "1"


def fields(*, orientation: int = 1, preview: str = "", animated: bool = False) -> str:
    return "01" + low(orientation - 1, 3) + "0" + (f"1{preview}" if preview else "0") + str(int(animated))


def metadata(first: str = PLAIN, depth: str = DEPTH_8, extras: str = "00", *, lossless: bool = False,
             colours: str = SRGB) -> str:  # fmt: skip
    tone = "1" if first != PLAIN else ""
    return first + depth + "1" + extras + str(int(not lossless)) + colours + tone + NO_MORE


def stream(bits: str, frames: bytes = b"\1\2\3\4" * 8) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return b"\xff\x0a" + bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8)) + frames


FRAMES = jxl_parts(LOSSY)[0][4:]
ALPHA = ExtraChannel(0)
ONE, TWO = low(1, 2), low(2, 2) + low(0, 4)
NAMED = "0" + low(1, 2) + DEPTH_8 + low(0, 2) + low(1, 2) + low(3, 4) + low(0x636261, 24)
PREMULTIPLIED = "0" + low(0, 2) + DEPTH_8 + low(0, 2) + low(0, 2) + "1"
INK = "0" + low(2, 2) + low(2, 4) + DEPTH_8 + low(0, 2) + low(0, 2)
SPOT = "0" + low(2, 2) + low(0, 4) + DEPTH_8 + low(0, 2) + low(0, 2) + low(0, 64)
PATTERN = "0" + low(2, 2) + low(3, 4) + DEPTH_8 + low(0, 2) + low(0, 2) + low(1, 2) + low(0, 2)

HEADS = {
    "plain": (size() + "1", JxlHead(248, 200)),
    "large": (large(70_000, 5000) + "1", JxlHead(70_000, 5000)),
    "a ratio": ("1" + low(24, 5) + low(4, 3) + "1", JxlHead(300, 200)),
    "turned": (size() + metadata(fields(orientation=6)), JxlHead(248, 200, 6)),
    "lossless": (size() + metadata(lossless=True), JxlHead(248, 200, lossless=True)),
    "16 bits": (size() + metadata(depth=DEPTH_16), JxlHead(248, 200, bits=16)),
    "floating point": (size() + metadata(depth=FLOAT), JxlHead(248, 200, bits=0)),
    "a preview": (size() + metadata(fields(preview="0" + low(0, 2) + low(10, 6) + low(1, 3))),
                  JxlHead(248, 200, preview=True)),
    "a preview of another shape": (size() + metadata(fields(preview="1" + low(0, 2) + low(0, 3) + low(1, 2))),
                                   JxlHead(248, 200, preview=True)),
    "animated": (size() + fields(animated=True), JxlHead(248, 200, animated=True)),
    "alpha": (size() + metadata(extras=ONE + "1"), JxlHead(248, 200, extras=(ALPHA,))),
    "channels": (size() + metadata(extras=TWO + NAMED + SPOT),
                 JxlHead(248, 200, extras=(ExtraChannel(1, name=True), ExtraChannel(2)))),
    "a colour filter": (size() + metadata(extras=ONE + PATTERN), JxlHead(248, 200, extras=(ExtraChannel(5),))),
    "black ink": (size() + metadata(extras=ONE + INK), JxlHead(248, 200, extras=(ExtraChannel(4),))),
    "premultiplied": (size() + metadata(extras=ONE + PREMULTIPLIED),
                      JxlHead(248, 200, extras=(ExtraChannel(0, premultiplied=True),))),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_read(name: str) -> None:
    bits, expected = HEADS[name]
    assert jxl_head(stream(bits)) == expected


def test_heads_that_end_early_are_refused() -> None:
    assert jxl_head(jxl_parts(LOSSY)[0]) == JxlHead(248, 200)
    with pytest.raises(BadFileError, match="cut short"):
        jxl_head(b"\xff\x0a\0")
    with pytest.raises(BadFileError, match="its codestream has no signature"):
        jxl_head(b"\0\0")
    with pytest.raises(BadFileError, match="holds no picture"):
        jxl_parts(JXL_SIGNATURE + JXL_TYPE)
    with pytest.raises(BadFileError, match="a box of the JPEG XL"):
        jxl_parts(JXL_SIGNATURE + JXL_TYPE + jxl_box(b"jxlc", bytes(9))[:-1])


REFUSED = {
    "animated": "it is animated",
    "black ink": "CMYK",
    "premultiplied": "premultiplied",
    "floating point": "floating-point",
    "large": "70000 x 5000 = 350 million pixels, over the limit",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name: str) -> None:
    with pytest.raises(ImageError, match=REFUSED[name]):
        read_photo_bytes(stream(HEADS[name][0]), "a.jxl")


@pytest.mark.parametrize(("change", "words"), [
    ({"depth": DEPTH_16, "lossless": True}, "lossless with 16 bits"),
    ({"depth": "0" + low(1, 2), "lossless": True}, "lossless with 10 bits"),
])  # fmt: skip
def test_lossless_pictures_of_more_bits_are_refused(change, words) -> None:
    extras = ONE + "1" if change["depth"] == DEPTH_16 else "00"
    with pytest.raises(ImageError, match=words):
        read_photo_bytes(stream(size() + metadata(extras=extras, **change)), "a.jxl")


def rewritten(data: bytes, *, painted: bool = False) -> bytes:
    photo = read_photo_bytes(data, "a.jxl")
    mask = samples.region(photo.image_rgb.shape) & painted
    return encode_photo(photo, 255 - photo.image_rgb, mask)


@pytest.mark.parametrize("quality", [50, 75, 90, 96])
def test_a_lossy_picture_keeps_about_its_size(quality: int) -> None:
    data = samples.pillow(samples.smooth(400, 600), "JXL", quality=quality)
    out = rewritten(data)
    before, after = (read_photo_bytes(d, "a.jxl").image_rgb.astype(int) for d in (data, out))
    assert 0.5 * len(data) < len(out) < 1.2 * len(data) + 100
    assert np.abs(before - after).mean() < 3


def test_new_pixels_are_written() -> None:
    mask = samples.region(RGB.shape)
    for data, tolerance in ((LOSSY, 6), (LOSSLESS, 0)):
        old = read_photo_bytes(data, "a.jxl").image_rgb
        new = read_photo_bytes(rewritten(data, painted=True), "a.jxl").image_rgb
        wanted = np.where(mask[..., None], 255 - old, old)
        assert np.abs(new.astype(int) - wanted).mean() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_are_written_upright(orientation: int) -> None:
    turned = stream(size() + metadata(fields(orientation=orientation)), FRAMES)
    photo = read_photo_bytes(turned, "a.jxl")
    assert photo.orientation == 1
    expected = upright(read_photo_bytes(LOSSY, "a.jxl").image_rgb, orientation)
    assert np.abs(photo.image_rgb.astype(int) - expected).max() <= 2  # the decoder dithers
    again = read_photo_bytes(rewritten(turned), "a.jxl").image_rgb
    assert np.abs(again.astype(int) - photo.image_rgb).mean() < 3


def test_colours_of_a_wider_space_are_converted() -> None:
    wide = stream(size() + metadata(colours=P3), FRAMES)
    told = Image.open(io.BytesIO(wide))
    assert not np.array_equal(np.asarray(told), read_photo_bytes(LOSSY, "a.jxl").image_rgb)
    photo = read_photo_bytes(wide, "a.jxl")
    assert any("converted to sRGB" in note for note in photo.notes)
    plain = read_photo_bytes(LOSSY, "a.jxl").image_rgb  # the same picture in sRGB
    assert np.abs(photo.image_rgb.astype(int) - plain).mean() < 3
    with pytest.raises(ImageError, match="colour profile other than sRGB"):
        frames = jxl_parts(LOSSLESS)[0]
        start = len(stream(size() + metadata(lossless=True), b""))
        assert jxl_head(frames).lossless
        read_photo_bytes(stream(size() + metadata(lossless=True, colours=P3), frames[start:]), "a.jxl")


def test_previews_and_channels_are_named() -> None:
    found = find_leftovers(stream(HEADS["channels"][0]))
    assert found == ["a channel with a name", "a channel of kind 1", "a channel of kind 2"]
    assert find_leftovers(stream(HEADS["a preview"][0])) == ["a preview"]
    assert find_leftovers(stream(HEADS["animated"][0])) == ["an animation"]


def test_other_boxes_are_leftovers() -> None:
    whole = JXL_SIGNATURE + JXL_TYPE + jxl_box(b"jxlc", jxl_parts(LOSSY)[0])
    assert find_leftovers(whole) == []
    for kind in (b"jbrd", b"brob", b"jhgm", b"free", b"jxli", b"ftyp"):
        assert find_leftovers(whole + jxl_box(kind, b"SECRET")) == [f"JPEG XL box {kind.decode()!r} (6 bytes)"]
    before = jxl_box(b"Exif", b"\0\0\0\4Jane" + samples.exif(1, secret=False))
    assert find_leftovers(whole + before) == ["bytes before the EXIF: 'Jane'"]
    photo = read_photo_bytes(whole + jxl_box(b"jhgm", b"gains"), "a.jxl")
    assert photo.notes == ("the gain map was left out, so HDR displays show nothing brighter than white",)
    pieces = jxl_parts(LOSSY)[0]
    split = [jxl_box(b"jxlp", bytes(4) + pieces[:100]), jxl_box(b"jxlp", b"\x80\0\0\1" + pieces[100:])]
    assert np.array_equal(read_photo_bytes(JXL_SIGNATURE + JXL_TYPE + b"".join(split), "a.jxl").image_rgb,
                          read_photo_bytes(LOSSY, "a.jxl").image_rgb)  # fmt: skip


def test_exif_has_the_field_that_readers_expect() -> None:
    photo = read_photo_bytes(samples.pillow(RGB, "JXL", exif=samples.exif(1, secret=False)), "a.jxl")
    out = encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool), "safe")
    (body,) = (body for kind, body in jxl_parts(out)[1] if kind == b"Exif")
    assert body[:8] == b"\0\0\0\0II*\0"
    assert jxl_exif(body) == jxl_exif(body[4:]) == (b"", body[4:])
    assert Image.open(io.BytesIO(out)).getexif().get_ifd(34665)[34855] == 200


def test_a_jpeg_inside_is_not_written_again(tmp_path) -> None:
    """The encoder can store a JPEG's own bytes, with all that they hold."""
    (tmp_path / "a.jpg").write_bytes(samples.soiled_jpeg(RGB))
    jpeg = (tmp_path / "a.jpg").read_bytes()[: -len(b"MotionPhoto" + samples.SECRET + samples.thumbnail())]
    data = pillow_jxl.Encoder("RGB")(jpeg, RGB.shape[1], RGB.shape[0], jpeg_encode=True)
    assert b"jbrd" in data
    out = rewritten(data)
    assert [kind for kind, _ in jxl_parts(out)[1]] == [b"JXL ", b"ftyp"]
    assert find_leftovers(out) == []


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(ImageError, match=r"a\.jxl: pillow-jxl-plugin, .* is not installed\. .* 'styleid\[jxl\]'"):
        read_photo_bytes(LOSSY, "a.jxl")
