"""HEIC: quality, depth, colours and tiles that are kept, parts that are left out, and refused files."""

import io
import struct
import sys
from dataclasses import replace

import numpy as np
import pillow_heif
import pytest

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.formats.parse.hevc import still_coding
from styleid.media.formats.parse.isobmff import Item, orientation_of, read_heif
from styleid.media.formats.raster import Layout, stored, upright
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples
from tests.media.boxes import box, heif, iinf, infe, iref, pitm

pytestmark = pytest.mark.versions

RGB = samples.smooth(80, 120)
DEEP = samples.smooth(80, 120, dtype=np.uint16)
RGBA = np.dstack([RGB, samples.smooth(80, 120, 1, seed=3)])
MATTE = np.dstack([RGB, np.tile(np.linspace(90, 250, 120).astype(np.uint8), (80, 1))])
PROFILE = samples.rgb_profile()
P3_LIKE = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6, "full_range_flag": 1}
LIMITED = {"color_primaries": 1, "transfer_characteristics": 13, "matrix_coefficients": 1, "full_range_flag": 0}


def rewritten(data: bytes, *, painted: bool = False) -> bytes:
    photo = read_photo_bytes(data, "a.heic")
    mask = samples.region(photo.image_rgb.shape) & painted
    return encode_photo(photo, 255 - photo.image_rgb, mask)


KEPT = {
    "8 bits": samples.heic(RGB, quality=60),
    "10 bits": samples.heic(DEEP, quality=70, bit_depth=10),
    "12 bits": samples.heic(DEEP, quality=70, bit_depth=12),
    "grey": samples.heic(RGB[..., 0].copy()),
    "grey of 10 bits": samples.heic(DEEP[..., 0].copy(), bit_depth=10),
    "alpha": samples.heic(RGBA),
    "premultiplied alpha": samples.heic(np.minimum(MATTE, MATTE[..., 3:]), "RGBa"),
    "alpha of 10 bits": samples.heic(np.dstack([DEEP, DEEP[..., 0]]), bit_depth=10),
    "4:2:2": samples.heic(RGB, chroma=422),
    "4:4:4": samples.heic(RGB, chroma=444),
    "wide colours": samples.heic(RGB, **P3_LIKE),
    "limited range": samples.heic(RGB, **LIMITED),
    "tiles": samples.heic(RGB, tile_size=64),
    "a profile": samples.heic(RGB, icc_profile=PROFILE),
    "lossless": samples.heic(RGB, quality=-1, chroma=444, matrix_coefficients=0),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_way_of_compressing_is_kept(name: str) -> None:
    before = read_photo_bytes(KEPT[name], "a.heic")
    data = rewritten(KEPT[name])
    after = read_photo_bytes(data, "a.heic")
    assert after.encoding == before.encoding
    assert after.encoding.coding is not None
    assert (after.raster.layout, after.raster.bits, after.raster.premultiplied) == (
        before.raster.layout, before.raster.bits, before.raster.premultiplied)  # fmt: skip
    assert after.icc_profile == before.icc_profile
    assert np.abs(after.image_rgb.astype(int) - before.image_rgb).mean() < 4
    assert len(data) < 1.25 * len(KEPT[name]) + 600
    assert find_leftovers(data, "strip") == []
    assert (name == "a profile") == (after.icc_profile is not None)


@pytest.mark.parametrize("name", KEPT)
def test_new_pixels_are_written(name: str) -> None:
    before = read_photo_bytes(KEPT[name], "a.heic")
    mask = samples.region(before.image_rgb.shape)
    after = read_photo_bytes(rewritten(KEPT[name], painted=True), "a.heic").seen_like(before)
    wanted = 255 - before.image_rgb
    if before.raster.premultiplied:
        wanted = np.minimum(wanted, before.raster.samples[..., 3:])
    assert np.abs(after.astype(int) - wanted)[mask].mean() < 6
    assert np.abs(after.astype(int) - before.image_rgb)[~mask].mean() < 5


def test_lossless_stays_so() -> None:
    again = read_photo_bytes(rewritten(KEPT["lossless"]), "a.heic")
    assert np.array_equal(again.image_rgb, RGB)
    painted = read_photo_bytes(rewritten(KEPT["lossless"], painted=True), "a.heic").image_rgb
    mask = samples.region(RGB.shape)
    assert np.array_equal(painted, np.where(mask[..., None], 255 - RGB, RGB))


@pytest.mark.parametrize("quality", [20, 47, 60, 80, 92])
def test_the_same_quantiser_is_asked_for_again(quality: int) -> None:
    photo = read_photo_bytes(samples.heic(RGB, quality=quality), "a.heic")
    assert photo.encoding.coding.quantiser == pytest.approx((94 - quality) / 2, abs=1)


def test_ten_bits_are_read_as_such() -> None:
    photo = read_photo_bytes(KEPT["10 bits"], "a.heic")
    assert (photo.raster.layout, photo.raster.bits) == (Layout.RGB, 16)
    assert len(np.unique(photo.raster.samples)) > 256
    assert not (photo.raster.samples & 63).any()


@pytest.mark.parametrize("properties", [
    [(b"irot", 1)], [(b"irot", 2), (b"imir", 1)], [(b"irot", 2), (b"imir", 0)], [(b"irot", 1), (b"imir", 1)],
    [(b"irot", 1), (b"imir", 0)], [(b"imir", 1), (b"irot", 1)], [(b"imir", 0), (b"irot", 3)],
    [(b"imir", 0), (b"imir", 1)], [(b"imir", 1), (b"imir", 1)], [(b"irot", 3), (b"irot", 3)],
    [(b"irot", 1), (b"imir", 1), (b"irot", 1), (b"imir", 0)],
], ids=str)  # fmt: skip
def test_any_chain_of_turns_and_mirrors_is_one_orientation(properties) -> None:
    expected = np.arange(6).reshape(2, 3)
    for kind, value in properties:
        expected = np.rot90(expected, value) if kind == b"irot" else (expected[:, ::-1] if value else expected[::-1])
    orientation = orientation_of(Item(properties=[(kind, bytes([value])) for kind, value in properties]))
    assert np.array_equal(upright(np.arange(6).reshape(2, 3), orientation), expected)
    assert np.array_equal(stored(expected, orientation), np.arange(6).reshape(2, 3))


def test_orientation_in_exif_alone_counts_for_nothing() -> None:
    turned = samples.heic(RGB, exif=b"Exif\0\0" + samples.exif(6, secret=False))
    assert turned.count(b"irot") == 1
    photo = read_photo_bytes(turned.replace(b"irot", b"free"), "a.heic")
    assert photo.orientation == 1
    assert photo.image_rgb.shape == RGB.shape


def with_second_picture() -> bytes:
    file = pillow_heif.HeifFile()
    for array in (RGB, 255 - RGB):
        file.add_frombytes("RGB", (120, 80), array.tobytes())
    out = io.BytesIO()
    file.save(out)
    return out.getvalue()


ALPHA_NAME = b"urn:mpeg:hevc:2015:auxid:1"
LEFT_OUT = {
    "thumbnails": (samples.heic(RGB, thumbnails=[64]), "a thumbnail"),
    "a second picture": (with_second_picture(), "a further picture"),
    "depth": (samples.heic(RGBA).replace(ALPHA_NAME, b"urn:mpeg:hevc:2015:auxid:2"), "auxid:2"),
    "a gain map": (samples.heic(RGBA).replace(ALPHA_NAME, b"urn:com:apple:hdrgainmap\0\0"), "hdrgainmap"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_pictures_beside_the_picture_are_left_out(name: str) -> None:
    data, words = LEFT_OUT[name]
    assert len(read_heif(data).items) == 2
    photo = read_photo_bytes(data, "a.heic")
    assert any(words in note for note in photo.notes), photo.notes
    assert find_leftovers(data) != []
    out = rewritten(data)
    assert [item.kind for item in read_heif(out).items.values()] == [b"hvc1"]
    assert find_leftovers(out) == []


def test_a_plain_picture_has_no_notes() -> None:
    for name, data in KEPT.items():
        assert not [n for n in read_photo_bytes(data, "a.heic").notes if "left out" in n], name


def test_messages_in_the_stream_are_leftovers() -> None:
    data = KEPT["8 bits"]
    ((start, end),) = read_heif(data).picture().places
    assert find_leftovers(data) == []
    message = struct.pack(">I", 22) + bytes([39 << 1, 1, 5, 18]) + b"SECRET-Jane-Doe-55"
    at = data.index(b"iloc") + data[data.index(b"iloc") :].index(struct.pack(">I", end - start))
    longer = data[:at] + struct.pack(">I", end - start + len(message)) + data[at + 4 : end] + message
    longer = longer[: start - 8] + struct.pack(">I", 8 + end - start + len(message)) + longer[start - 4 :]
    assert find_leftovers(longer) == ["H.265 units that are no part of the picture, of type 39"]
    assert read_photo_bytes(longer, "a.heic").image_rgb.shape == RGB.shape


REFUSED = {
    "another codec": (KEPT["8 bits"].replace(b"hvc1", b"vvc1"), "a kind that cannot be read ('vvc1')"),
    "an overlay": (
        heif(pitm(1), iinf(infe(1, b"iovl"), infe(2, b"hvc1")), iref((b"dimg", 1, (2,)))).replace(b"avif", b"heic"),
        "cannot be read",
    ),
    "a sequence": (KEPT["8 bits"] + box(b"moov", b""), "a HEIC sequence"),
    "no picture": (heif(pitm(1)).replace(b"avif", b"heic"), "names no picture"),
    "a huge picture": (
        KEPT["tiles"].replace(
            struct.pack(">4sIII", b"ispe", 0, 120, 80), struct.pack(">4sIII", b"ispe", 0, 65000, 8000)
        ),
        "65000 x 8000 = 520 million pixels, over the limit",
    ),
    "cut short": (KEPT["8 bits"][:-200], "cut short"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name: str) -> None:
    data, says = REFUSED[name]
    with pytest.raises(ImageError) as caught:
        read_photo_bytes(data, "a.heic")
    assert says in str(caught.value)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"a\.heic: pillow-heif, .* is not installed\. .* 'styleid\[heif\]'"):
        read_photo_bytes(KEPT["8 bits"], "a.heic")


def coding_parts(data: bytes) -> tuple[bytes, bytes]:
    item = read_heif(data).picture()
    config = item.property_body(b"hvcC")
    assert config is not None
    return config, b"".join(data[start:end] for start, end in item.places)


def test_streams_that_cannot_be_told_get_the_usual_quality() -> None:
    config, stream = coding_parts(KEPT["8 bits"])
    assert still_coding(config, stream) is not None
    for spoiled in (b"", config[:10], bytes(23), config[:22] + b"\0", config[:40], config[:60]):
        assert still_coding(spoiled, stream) is None
    assert still_coding(config, b"") is None
    assert still_coding(config, stream[:4] + b"\x2a\x01" + stream[6:]) is None  # no IDR picture
    assert still_coding(config, stream[:4] + b"\x28\x01\x00" + stream[7:]) is None  # no first slice
    photo = read_photo_bytes(KEPT["8 bits"], "a.heic")
    unknown = replace(photo, encoding=replace(photo.encoding, coding=None, points=None))
    out = encode_photo(unknown, photo.image_rgb, np.zeros(RGB.shape[:2], bool))
    assert read_photo_bytes(out, "a.heic").encoding.coding.quantiser == pytest.approx(7, abs=1)


def test_pictures_wider_than_one_may_be_get_tiles() -> None:
    wide = samples.heic(samples.smooth(20, 9000), tile_size=512)
    photo = read_photo_bytes(wide, "a.heic")
    whole = replace(photo, encoding=replace(photo.encoding, tile_px=0))
    again = read_photo_bytes(encode_photo(whole, photo.image_rgb, np.zeros((20, 9000), bool)), "a.heic")
    assert again.encoding.tile_px == 512
