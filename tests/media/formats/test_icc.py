"""Colour profiles keep their numbers and lose their texts."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from styleid.media.audit import find_leftovers
from styleid.media.formats.icc_writer import adobe_rgb_profile, clean_profile
from styleid.media.formats.parse.icc import parse_profile, profile_leftovers, text_of
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import samples
from tests.media.test_read import GREY, RGB

PROFILES = {
    "sRGB": (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"RGB "),
    "named after someone": (samples.rgb_profile(), b"RGB "),
    "public name": (samples.rgb_profile("Display P3", b"APPL"), b"RGB "),
    "inks": (samples.cmyk_profile(), b"CMYK"),
    "Adobe RGB": (adobe_rgb_profile(), b"RGB "),
}


@pytest.mark.parametrize("name", PROFILES)
def test_numbers_stay_and_texts_go(name: str) -> None:
    data, space = PROFILES[name]
    cleaned = clean_profile(data, space)
    assert cleaned is not None
    assert profile_leftovers(cleaned) == []
    for form in (samples.SECRET, samples.SECRET.decode().encode("utf-16-be"), b"MAKR"):
        assert form not in cleaned
    before, after = parse_profile(data), parse_profile(cleaned)
    assert before is not None
    assert after is not None
    numbers = {n: b for n, b in before.tags if n[1:] in (b"XYZ", b"TRC") or n in (b"wtpt", b"chad", b"A2B0", b"B2A0")}
    assert numbers
    assert numbers.items() <= dict(after.tags).items()
    assert clean_profile(cleaned, space) == cleaned
    assert len(cleaned) < len(data) + 300


@pytest.mark.parametrize("name", [n for n in PROFILES if n != "inks"])
def test_colours_come_out_the_same(name: str) -> None:
    data, space = PROFILES[name]
    cleaned = clean_profile(data, space)
    assert cleaned is not None
    srgb = ImageCms.createProfile("sRGB")
    image = Image.fromarray(RGB)
    before, after = (
        ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(p)), srgb) for p in (data, cleaned)
    )
    assert np.array_equal(np.asarray(before), np.asarray(after))


def test_names() -> None:
    for name, expected in (("public name", "Display P3"), ("named after someone", "RGB profile")):
        cleaned = parse_profile(clean_profile(*PROFILES[name]) or b"")
        assert cleaned is not None
        assert text_of(dict(cleaned.tags)[b"desc"]) == expected


@pytest.mark.parametrize("data", [None, b"", b"junk" * 100, PROFILES["sRGB"][0][:200], PROFILES["sRGB"][0][:-50]])
def test_what_is_no_profile_is_not_kept(data: bytes | None) -> None:
    assert clean_profile(data, b"RGB ") is None


def test_a_profile_for_another_space_is_left_out_and_noted() -> None:
    assert clean_profile(PROFILES["sRGB"][0], b"GRAY") is None
    photo = read_photo_bytes(samples.pillow(GREY, "PNG", icc_profile=PROFILES["sRGB"][0]), "photo.png")
    assert photo.icc_profile is None
    assert any("profile" in note for note in photo.notes)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("name", ["sRGB", "named after someone"])
def test_every_format_carries_the_profile(kind: str, name: str) -> None:
    photo = read_photo_bytes(samples.pillow(RGB, kind, icc_profile=PROFILES[name][0]), "photo")
    out = encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool))
    assert Image.open(io.BytesIO(out)).info["icc_profile"] == clean_profile(*PROFILES[name])
    assert read_photo_bytes(out, "photo").icc_profile == photo.icc_profile


def test_a_large_profile_spans_jpeg_segments() -> None:
    profile = parse_profile(PROFILES["inks"][0])
    assert profile is not None
    body = dict(profile.tags)[b"B2A0"]
    large = samples.profile(
        profile.header, dict(profile.tags) | {b"B2A1": body[:-1] + b"x", b"gamt": b"mft1" + bytes(200_000)}
    )
    image = Image.fromarray(RGB).convert("CMYK")
    photo = read_photo_bytes(samples.pillow(image, "JPEG", icc_profile=large), "photo.jpg")
    assert photo.icc_profile is not None
    assert len(photo.icc_profile) > 200_000
    out = encode_photo(photo, photo.image_rgb, np.zeros(RGB.shape[:2], bool))
    assert out.count(b"ICC_PROFILE\0") == -(-len(photo.icc_profile) // 65519)
    assert read_photo_bytes(out, "photo.jpg").icc_profile == photo.icc_profile
    assert find_leftovers(out) == []
    missing = out.replace(b"ICC_PROFILE\0\x02", b"ICC_PROFILE\0\x09")
    assert read_photo_bytes(missing, "photo.jpg").icc_profile is None


def test_adobe_rgb_named_in_exif_only_gets_a_profile() -> None:
    interop = b"\0\x01\0\x01\0\x02\0\0\0\x04R03\0\0\0\0\0"
    head = b"MM\0*\0\0\0\x08" + b"\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a" + b"\0\0\0\0"
    details = b"\0\x02\xa0\x01\0\x03\0\0\0\x01\xff\xff\0\0" + b"\xa0\x05\0\x04\0\0\0\x01\0\0\0\x38" + b"\0\0\0\0"
    data = samples.pillow(RGB, "JPEG", exif=b"Exif\0\0" + head + details + interop)
    photo = read_photo_bytes(data, "photo.jpg")
    assert photo.icc_profile == adobe_rgb_profile()
    assert any("Adobe RGB" in note for note in photo.notes)
    core = ImageCms.ImageCmsProfile(io.BytesIO(adobe_rgb_profile())).profile
    assert core.red_colorant is not None
    assert core.red_colorant[0] == pytest.approx((0.60974, 0.31111, 0.01947), abs=1e-4)
    assert find_leftovers(encode_photo(photo, RGB, np.zeros(RGB.shape[:2], bool)), "strip") == []
