"""Motion photos in HEIC and AVIF: the video is found, never copied, and audited when another is written."""

import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image

from styleid.errors import ImageError
from styleid.media.audit import find_leftovers
from styleid.media.formats.parse.motion import UNKNOWN_TIME
from styleid.media.image import encode_photo, read_photo_bytes
from styleid.media.provenance import PACKET
from tests.media import further_parts as parts
from tests.media import samples
from tests.media.formats.test_motion import SOILED, movie

RGB = samples.smooth(64, 96)
SOURCE, OUTPUT = movie(b"the old face"), movie(b"new")
SUFFIXES = ("heic", "avif")
KINDS = ("box", "behind", "samsung", "sefd", "trailer")
FILES = [(kind, suffix) for suffix in SUFFIXES for kind in KINDS]


def source(kind="box", suffix="heic", **options):
    return read_photo_bytes(parts.heif_motion_photo(RGB, SOURCE, kind, suffix, **options), f"p.{suffix}")


def written(photo, *, marked=True, **options):
    nothing = np.zeros(photo.image_rgb.shape[:2], bool)
    return encode_photo(photo, photo.image_rgb, nothing, marked=marked, **options)


@pytest.mark.parametrize(("kind", "suffix"), FILES)
def test_the_video_is_found_and_another_written(kind, suffix) -> None:
    photo = source(kind, suffix)
    assert photo.moving.data == SOURCE
    assert photo.image_rgb.shape == RGB.shape
    assert photo.moving.motion.shown_at_us == (250000 if kind in ("box", "behind") else UNKNOWN_TIME)
    still = written(photo)
    data = written(photo.with_moving(OUTPUT))
    first, video = parts.split_heif_motion(data)
    assert video == OUTPUT
    for one in (still, data):
        assert b"the old face" not in one
        assert samples.SECRET not in one
        assert find_leftovers(one) == find_leftovers(one, "strip") == []
    assert b"MotionPhoto" not in still
    assert PACKET in still
    assert np.array_equal(parts.pixels(data), parts.pixels(still))
    assert np.array_equal(parts.pixels(first), parts.pixels(still))
    again = read_photo_bytes(data, f"p.{suffix}")
    assert again.moving.data == OUTPUT
    assert again.declared
    assert again.notes == ()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_a_mark_the_packet_only_names_the_video(suffix) -> None:
    photo = source(suffix=suffix)
    data = written(photo.with_moving(OUTPUT), marked=False)
    assert parts.split_heif_motion(data)[1] == OUTPUT
    assert b"DigitalSourceType" not in data
    assert find_leftovers(data, "strip") == []
    assert find_leftovers(written(photo, marked=False), "strip") == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_audit_accepts_nothing_else(suffix) -> None:
    photo = source(suffix=suffix)
    data, still = written(photo.with_moving(OUTPUT)), written(photo)
    short = OUTPUT[:-8]
    for other, words in [
        (data.replace(b"MotionPhotoVersion", b"MotionPhotoversion"), "no XMP that describes only"),
        (data.replace(b'TimestampUs="250000"', b'TimestampUs="25000x"'), "no XMP that describes only"),
        (data.replace(b'Item:Padding="8"', b'Item:Padding="9"'), "no XMP that describes only"),
        (data.replace(b'Mime="image/' + suffix.encode(), b'Mime="image/jpeg'), "no XMP that describes only"),
        (data[: -len(OUTPUT) - 8] + parts.iso_box(b"mpvd", OUTPUT + parts.iso_box(b"free", b"Jane")), "'free'"),
        (data[: -len(OUTPUT) - 8] + parts.iso_box(b"mpvd", OUTPUT + b"x"), "not readable as a video"),
        (data[: -len(OUTPUT) - 8] + parts.iso_box(b"mpvd", short), "motion photo: "),
        (data[: -len(OUTPUT) - 8], "(XMP)"),
        (still + parts.iso_box(b"mpvd", OUTPUT), "no XMP that describes only"),
        (data + parts.iso_box(b"mpvd", OUTPUT), "box 'mpvd'"),
        (data + parts.iso_box(b"sefd", b"Jane"), "box 'sefd'"),
        (data + parts.iso_box(b"free", b"Jane"), "box 'free'"),
        (data + OUTPUT, "box 'moov'"),
        (data[: -len(OUTPUT) - 8] + struct.pack(">I4sQ", 1, b"mpvd", 16 + len(OUTPUT)) + OUTPUT, "box 'mpvd'"),
        (parts.heif_motion_photo(RGB, OUTPUT, suffix=suffix), "no XMP that describes only"),
    ]:  # fmt: skip
        assert other not in (data, still)
        assert any(words in line for line in find_leftovers(other)), (words, find_leftovers(other))


@pytest.mark.parametrize("name", SOILED)
def test_what_else_a_movie_holds_is_named(name) -> None:
    with pytest.raises(ImageError, match=r"p\.heic: .*motion photo: "):
        written(source().with_moving(SOILED[name][0]))


NO_MOTION = {
    "a box that holds no video": (parts.iso_box(b"mpvd", b"no video at all"), "a video"),
    "a trailer of other parts": (
        parts.iso_box(b"sefd", parts.samsung_trailer(SOURCE).replace(b"\0\0\x30\x0a", b"\0\0\x31\x0a")),
        "a box 'sefd'",
    ),
    "a video that nobody names": (SOURCE, f"{len(SOURCE):,} bytes after the picture"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", NO_MOTION)
def test_what_is_no_motion_photo_is_left_out_and_named(name, suffix) -> None:
    more, words = NO_MOTION[name]
    still = samples.heic(RGB) if suffix == "heic" else samples.pillow(RGB, "AVIF")
    photo = read_photo_bytes(still + more, f"p.{suffix}")
    assert photo.moving is None
    assert any("left out" in note and words in note for note in photo.notes), photo.notes
    assert b"the old face" not in written(photo)


def test_a_second_video_is_left_out_and_named() -> None:
    data = parts.heif_motion_photo(RGB, SOURCE) + parts.iso_box(b"mpvd", SOURCE)
    photo = read_photo_bytes(data, "p.heic")
    assert photo.moving.data == SOURCE
    assert any("left out: a video" in note for note in photo.notes)


def test_a_file_cut_in_its_video_is_refused() -> None:
    with pytest.raises(ImageError, match="cut short"):
        read_photo_bytes(parts.heif_motion_photo(RGB, SOURCE)[:-4], "p.heic")


def test_deep_tiled_and_lossless_pictures_keep_their_form() -> None:
    deep = samples.smooth(80, 120, dtype=np.uint16)
    for picture, options in ((deep, {"bit_depth": 10}), (RGB, {"tile_size": 64}), (RGB, {"quality": -1})):
        data = parts.heif_motion_photo(picture, SOURCE, **options)
        photo = read_photo_bytes(data, "p.heic")
        out = written(photo.with_moving(OUTPUT))
        assert read_photo_bytes(out, "p.heic").encoding.bits == photo.encoding.bits
        assert parts.split_heif_motion(out)[1] == OUTPUT
        assert Image.open(io.BytesIO(out)).size == Image.open(io.BytesIO(data)).size


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exiftool_finds_the_video(suffix, tmp_path) -> None:
    file = tmp_path / f"p.{suffix}"
    file.write_bytes(written(source(suffix=suffix).with_moving(OUTPUT)))
    command = ["exiftool", "-b", "-MotionPhotoVideo", str(file)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == OUTPUT
    asked = ["-s3", "-a", "-XMP:MotionPhoto", "-XMP:MotionPhotoPresentationTimestampUs", "-XMP:DirectoryItemPadding"]
    told = subprocess.run(["exiftool", *asked, str(file)], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["1", "250000", "8", "0"]
