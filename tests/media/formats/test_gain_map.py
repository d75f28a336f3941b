"""Ultra HDR files keep their gain map, without information about replaced pixels."""

import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from PIL import ImageCms

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.containers.errors import BadFileError
from styleid.media.formats.gain_map import redrawn
from styleid.media.formats.parse.gain_map import UNIT, GainMapNumbers, read_iso, read_xmp
from styleid.media.image import encode_photo, read_photo_bytes
from tests.media import further_parts as parts
from tests.media import samples

HEIGHT, WIDTH = 96, 128
RGB = samples.smooth(HEIGHT, WIDTH)
GREY_MAP = samples.smooth(HEIGHT // 4, WIDTH // 4, 1, seed=3)
THREE = parts.NUMBERS | {"GainMapMax": [2.5, 2.25, 1.5], "Gamma": [1.2, 1.0, 0.9]}


def with_checks(gain):
    """A map with a pattern in the middle, as a face would be."""
    made = gain.copy()
    made[8:16, 12:20] = np.where(np.indices((8, 8)).sum(0) % 4 < 2, 0, 255).reshape(8, 8, *[1] * (gain.ndim - 2))
    return made


def middle():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[32:64, 48:80] = True
    return mask


def written(data, mask=None, marked=True, metadata="strip"):
    photo = read_photo_bytes(data, "p.jpg")
    image = photo.image_rgb.copy()
    if mask is not None:
        image[mask] = 200
    return photo, encode_photo(photo, image, np.zeros(image.shape[:2], bool) if mask is None else mask, metadata,
                               marked=marked)  # fmt: skip


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(
    ("gain", "described"),
    [
        (GREY_MAP, ()),
        (GREY_MAP, (parts.hdrgm_xmp(),)),
        (GREY_MAP, (parts.iso_segment(),)),
        (GREY_MAP, (parts.iso_segment(common=64000),)),
        (np.dstack([GREY_MAP] * 3), (parts.hdrgm_xmp(THREE),)),
        (np.dstack([GREY_MAP] * 3), (parts.iso_segment(THREE),)),
    ],
)
def test_what_is_written_is_an_ultra_hdr_file(gain, described, marked) -> None:
    source = parts.ultra_hdr(RGB, gain, *described)
    photo, data = written(source, middle(), marked)
    assert photo.notes == ()
    first, second = parts.mpf_pictures(data)
    assert first + second == data
    assert np.array_equal(parts.pixels(first), parts.pixels(data))
    assert parts.pixels(second).shape == gain.shape
    own, other = parts.descriptions(data)
    assert parts.container_items(own) == [("Primary", "image/jpeg", None), ("GainMap", "image/jpeg", str(len(second)))]
    assert own.get(f"{{{parts.HDRGM}}}Version") == other.get(f"{{{parts.HDRGM}}}Version") == "1.0"
    assert (b"digitalsourcetype" in data) == marked
    assert parts.ISO + bytes(4) in first
    wanted = THREE if gain.ndim == 3 else parts.NUMBERS
    for name, value in wanted.items():
        found = other.find(f"{{{parts.HDRGM}}}{name}")
        texts = (
            [other.get(f"{{{parts.HDRGM}}}{name}")] if found is None else [e.text for e in found.iter() if not len(e)]
        )
        assert [float(text) for text in texts] == pytest.approx(
            value if isinstance(value, list) else [value] * len(texts)
        )
    assert find_leftovers(data, "strip") == []
    assert samples.SECRET not in data


def test_numbers_of_both_kinds_agree() -> None:
    for numbers in (parts.NUMBERS, THREE):
        packet = parts.hdrgm_xmp(numbers)
        one = read_xmp(packet[packet.index(b"<x:") :])
        assert one == read_iso(parts.iso_block(numbers)) == read_iso(parts.iso_block(numbers, common=64000))
        assert one == read_iso(one.iso()) == read_xmp(one.xmp())


def test_pixels_outside_and_the_map_outside_stay() -> None:
    source = parts.ultra_hdr(RGB, with_checks(GREY_MAP))
    before = parts.pixels(parts.mpf_pictures(source)[1]).astype(int)
    after = parts.pixels(parts.mpf_pictures(written(source, middle())[1])[1]).astype(int)
    far = np.ones(before.shape, bool)
    far[:24, 4:28] = False  # blocks of compressed pixels that touch the middle
    assert np.abs(after - before)[far].max() <= 2
    untouched = parts.pixels(parts.mpf_pictures(written(source)[1])[1]).astype(int)
    assert np.abs(untouched - before).max() <= 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_nothing_of_the_old_picture_stays_in_the_map(orientation: int) -> None:
    gain = with_checks(GREY_MAP)
    mask = middle() if orientation < 5 else np.rot90(middle())
    outputs = []
    for shown in (gain, GREY_MAP):
        photo, data = written(parts.ultra_hdr(RGB, shown, orientation=orientation), mask)
        assert photo.orientation == orientation
        outputs.append(parts.pixels(parts.mpf_pictures(data)[1])[8:16, 12:20].astype(float))
    pattern = (gain[8:16, 12:20] > 128).astype(float) * 2 - 1
    assert abs(float(((outputs[0] - outputs[0].mean()) * pattern).mean())) < 5
    assert np.abs(outputs[0] - outputs[1]).max() < 12  # what was under the mask makes no difference


def test_the_map_follows_the_new_picture() -> None:
    """Bright parts of the new picture get the gain that bright parts have elsewhere."""
    grey = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    gain = cv2.resize(grey, (WIDTH // 4, HEIGHT // 4), interpolation=cv2.INTER_AREA)
    photo = read_photo_bytes(parts.ultra_hdr(np.dstack([grey] * 3), gain), "p.jpg")
    new = photo.image_rgb.copy()
    new[32:64, 48:64], new[32:64, 64:80] = 20, 220
    made = redrawn(photo.gain_map, new, middle()).raster.samples
    assert made[12, 14] < 70
    assert made[12, 18] > 170


def test_where_nothing_is_known_the_map_changes_nothing() -> None:
    every = np.ones((HEIGHT, WIDTH), bool)
    photo = read_photo_bytes(parts.ultra_hdr(RGB, GREY_MAP), "p.jpg")
    made = redrawn(photo.gain_map, photo.image_rgb, every)
    share = 0.25 / 2.75
    assert np.unique(made.raster.samples).tolist() == [round(255 * share**1.2)]
    flat = GainMapNumbers((0,), (0,), (UNIT,), (0,), (0,), 0, UNIT)
    assert redrawn(type(made)(made.raster, flat, None, None), photo.image_rgb, every).raster.samples.max() == 0


def test_a_map_in_a_colour_space_of_its_own_keeps_its_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for flags, kept in ((0x40, False), (0, True)):
        gain = np.dstack([GREY_MAP] * 3)
        second = [parts.iso_segment(THREE, flags=flags), samples.jpeg_segment(0xE2, b"ICC_PROFILE\0\x01\x01" + profile)]
        data = written(parts.ultra_hdr(RGB, gain, *second))[1]
        assert (b"ICC_PROFILE" in parts.mpf_pictures(data)[1]) == kept
        assert find_leftovers(data) == []


WRONG = {
    "another shape": (GREY_MAP[:, :20], ()),
    "HDR base": (GREY_MAP, (parts.hdrgm_xmp(hdr="True"),)),
    "backwards": (GREY_MAP, (parts.iso_segment(flags=0x44),)),
    "cut numbers": (GREY_MAP, (samples.jpeg_segment(0xE2, parts.iso_block()[:-3]),)),
    "no unit": (GREY_MAP, (samples.jpeg_segment(0xE2, parts.iso_block()[:-4] + bytes(4)),)),
    "no number": (GREY_MAP, (parts.hdrgm_xmp(parts.NUMBERS | {"GainMapMax": float("nan")}),)),
    "text": (GREY_MAP, (samples.jpeg_segment(0xE1, parts.hdrgm_xmp()[4:].replace(b'"2.5"', b'"two"')),)),
    "huge": (GREY_MAP, (parts.hdrgm_xmp(parts.NUMBERS | {"GainMapMax": 1e9}),)),
    "no headroom": (GREY_MAP, (parts.hdrgm_xmp(parts.NUMBERS | {"HDRCapacityMax": 0.0}),)),
    "no gamma": (GREY_MAP, (parts.iso_segment(parts.NUMBERS | {"Gamma": 0}),)),
    "two channels": (GREY_MAP, (parts.hdrgm_xmp(parts.NUMBERS | {"GainMapMax": [1, 2]}),)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_map_that_cannot_be_used_is_left_out_with_a_note(name: str) -> None:
    gain, described = WRONG[name]
    photo, data = written(parts.ultra_hdr(RGB, gain, *described))
    assert "the gain map was left out" in photo.notes[0]
    assert b"MPF" not in data
    assert find_leftovers(data) == []
    assert data.count(b"\xff\xd8\xff") == 1


def test_a_damaged_map_is_left_out() -> None:
    source = parts.ultra_hdr(RGB, GREY_MAP)
    second = parts.mpf_pictures(source)[1]
    at = second.index(b"\xff\xdb")
    photo, data = written(source.replace(second, second[:at] + b"\xff\xd9"))
    assert "the gain map was left out" in photo.notes[0]
    assert find_leftovers(data) == []


@pytest.mark.parametrize(
    "described",
    [
        (parts.xmp_segment('hdrgm:Version="1.0">', hdrgm=parts.HDRGM),),
        (samples.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<!DOCTYPE x><x/>"),),
        (samples.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x"),),
        (samples.jpeg_segment(0xFE, b"x"),),
    ],
)
def test_a_second_picture_that_is_no_map_is_left_out_as_before(described) -> None:
    photo, data = written(parts.ultra_hdr(RGB, GREY_MAP, *described))
    assert "only the first is written" in photo.notes[0]
    assert find_leftovers(data) == []


def test_ink_pictures_have_no_map() -> None:
    source = parts.ultra_hdr(np.dstack([RGB, RGB[..., :1]]), GREY_MAP, mode="CMYK")
    assert "CMYK" in read_photo_bytes(source, "p.jpg").notes[0]


def test_what_follows_the_map_is_named() -> None:
    photo, data = written(parts.ultra_hdr(RGB, GREY_MAP, extra=b"more of it"))
    assert photo.notes == ("left out: 10 bytes after the picture",)
    assert b"more of it" not in data


SOILED = {
    "more": (lambda d: d + b"x", "1 byte after the picture"),
    "a second map": (lambda d: d + parts.mpf_pictures(d)[1], "bytes after the picture"),
    "another packet": (lambda d: d.replace(b"hdrgm:Version", b"hdrgm:version", 1), "that describes only what follows"),
    "another MPF": (lambda d: d.replace(b"0100", b"0101", 1), "that describes only what follows"),
    "other numbers": (lambda d: d.replace(b'GainMapMax="2.5"', b'GainMapMax="2.6"'), "that holds only its numbers"),
    "comment": (lambda d: d.replace(parts.ISO + bytes(4), parts.ISO + b"Jane", 1), "that describes only what follows"),
    "in the map": (
        lambda d: d[: -len(parts.mpf_pictures(d)[1])]
        + parts.behind_header(parts.mpf_pictures(d)[1], samples.jpeg_segment(0xFE, b"by Jane")),
        "gain map: JPEG comment: 'by Jane'",
    ),
    "no numbers": (lambda d: d.replace(b"\xff\xe2\0\x5b", b"\xff\xe4\0\x5b").replace(b"GainMapMax", b"GainMapMix"),
                   "bytes after the picture"),
    "damaged numbers": (lambda d: d.replace(parts.ISO + bytes(4) + b"\x40", parts.ISO + bytes(4) + b"\x44"),
                        "bytes after the picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOILED)
def test_the_audit_refuses_everything_else(name: str) -> None:
    data = written(parts.ultra_hdr(RGB, GREY_MAP))[1]
    assert find_leftovers(data) == []
    soil, words = SOILED[name]
    soiled = soil(data)
    assert soiled != data
    assert any(words in line for line in find_leftovers(soiled)), find_leftovers(soiled)


def test_the_mark_stands_once() -> None:
    from styleid.media.provenance import PACKET

    data = written(parts.ultra_hdr(RGB, GREY_MAP))[1]
    again = parts.behind_header(data, samples.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + PACKET))
    assert any("the mark a second time" in line for line in find_leftovers(again))


def test_files_of_phones_are_not_clean() -> None:
    found = " ".join(find_leftovers(parts.ultra_hdr(RGB, GREY_MAP)))
    for words in ("GPS", "that describes only what follows", "MPF"):
        assert words in found


@pytest.mark.parametrize("numbers", [((0,), (0, 0)), ((0,), (101 * UNIT,))])
def test_numbers_that_make_no_sense_are_refused(numbers) -> None:
    low, high = numbers
    with pytest.raises(BadFileError, match="out of range"):
        GainMapNumbers(low, high, (UNIT,), (0,), (0,), 0, UNIT)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_it_without_a_warning(tmp_path) -> None:
    data = written(parts.ultra_hdr(RGB, GREY_MAP), middle())[1]
    (tmp_path / "p.jpg").write_bytes(data)
    command = ["exiftool", "-a", "-G1", "-s", str(tmp_path / "p.jpg")]
    told = re.sub(" +", " ", subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert "[XMP-iptcExt] DigitalSourceType : " in told
    assert "DirectoryItemSemantic : Primary\n" in told
    assert "DirectoryItemSemantic : GainMap\n" in told
    assert f"[MPImage2] MPImageLength : {len(parts.mpf_pictures(data)[1])}\n" in told
    assert "Warning" not in told, told


def test_refusal_names_the_file(monkeypatch) -> None:
    """Should the map ever be written otherwise, the photo is withheld."""
    monkeypatch.setattr("styleid.media.formats.jpeg.mpf_payload", lambda *sizes: b"MPF\0" + bytes(82))
    with pytest.raises(ImageError, match=r"p\.jpg.*that describes only what follows"):
        written(parts.ultra_hdr(RGB, GREY_MAP))
