"""A Live Photo's video is found by its identifier, not by its name alone."""

import shutil
import struct
import subprocess

import pytest

from styleid.media.live_photo import find_partner, movie_identifier, photo_identifier
from tests.media import further_parts as parts
from tests.media import samples

IDENTIFIER = "0D7BD6A3-8A1C-4B5E-9C61-2E2F3B1C7A55"
RGB = samples.smooth(32, 48)
HANDLER = bytes(8) + b"mdta" + bytes(12)
KEY = b"com.apple.quicktime.content.identifier"


def box(kind, *bodies):
    body = b"".join(bodies)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def movie(identifier=IDENTIFIER, key=KEY, number=1):
    keys = box(b"keys", bytes(4), struct.pack(">I", 1), box(b"mdta", key))
    item = box(struct.pack(">I", number), box(b"data", struct.pack(">II", 1, 0), identifier.encode()))
    return box(b"ftyp", b"qt  ") + box(
        b"moov", box(b"mvhd", bytes(100)), box(b"meta", box(b"hdlr", HANDLER), keys, box(b"ilst", item))
    )


def test_both_identifiers_are_read() -> None:
    assert photo_identifier(parts.apple_photo(RGB, IDENTIFIER)) == movie_identifier(movie()) == IDENTIFIER
    clips = pytest.importorskip("tests.media.clips", reason="videos are made with PyAV: pip install 'styleid[video]'")
    assert movie_identifier(clips.apple_video([RGB] * 2, IDENTIFIER)) == IDENTIFIER


@pytest.mark.parametrize(
    "data",
    [
        samples.pillow(RGB, "JPEG"),
        b"Apple iOS\0\0\x01MM",
        b"Apple iOS\0\0\x01MM\0\x09" + bytes(30),
        parts.apple_photo(RGB, ""),
    ],
)
def test_photos_without_one(data) -> None:
    assert photo_identifier(data) == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no video at all",
        box(b"ftyp", b"qt  "),
        box(b"moov"),
        box(b"moov", box(b"meta")),
        movie(key=b"com.apple.quicktime.make"),
        movie(number=2),
        movie()[:-9],
    ],
)
def test_videos_without_one(data) -> None:
    assert movie_identifier(data) == ""


FOLDERS = {
    "a pair": (["IMG_1.JPG", "IMG_1.MOV"], "IMG_1.JPG", "IMG_1.MOV"),
    "other letters": (["IMG_1.jpg", "IMG_1.mov"], "IMG_1.jpg", "IMG_1.mov"),
    "another name": (["IMG_1.JPG", "IMG_2.MOV"], "IMG_1.JPG", None),
    "another container": (["IMG_1.JPG", "IMG_1.MP4"], "IMG_1.JPG", None),
    "the first of two photos": (["IMG_1.HEIC", "IMG_1.JPG", "IMG_1.MOV"], "IMG_1.HEIC", "IMG_1.MOV"),
    "the second of two photos": (["IMG_1.HEIC", "IMG_1.JPG", "IMG_1.MOV"], "IMG_1.JPG", None),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_partners_are_found_by_name_and_identifier(name, tmp_path) -> None:
    names, asked, found = FOLDERS[name]
    for one in names:
        (tmp_path / one).write_bytes(movie() if one[-3:].lower() in ("mov", "mp4") else b"photo")
    data = parts.apple_photo(RGB, IDENTIFIER)
    assert find_partner(tmp_path / asked, data) == (None if found is None else tmp_path / found)
    assert find_partner(tmp_path / asked, samples.pillow(RGB, "JPEG")) is None
    if found is not None:
        (tmp_path / found).write_bytes(movie("another"))
        assert find_partner(tmp_path / asked, data) is None


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_the_samples_so(tmp_path) -> None:
    (tmp_path / "p.jpg").write_bytes(parts.apple_photo(RGB, IDENTIFIER))
    (tmp_path / "p.mov").write_bytes(movie())
    for name, tag in (("p.jpg", "-MakerNotes:all"), ("p.mov", "-Keys:ContentIdentifier")):
        command = ["exiftool", "-s3", tag, str(tmp_path / name)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told.split()[-1] == IDENTIFIER
