"""The mark of generated content: one packet, where readers look for it, and nothing else."""

import hashlib
import io
import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from styleid.errors import ImageError, OptionError
from styleid.media.audit import find_leftovers
from styleid.media.formats.parse.sniff import SUFFIXES
from styleid.media.image import encode_photo, read_photo_bytes
from styleid.media.marking import encode_marked
from styleid.media.provenance import PACKET, SOURCE_TYPE, MarkOptions
from tests.media import samples
from tests.media.test_read import EIGHT_BIT, RGB, RGBA, animated
from tests.media.test_write import LOSSLESS, shown

LOSSY = {
    "jpeg": EIGHT_BIT["jpeg"],
    "jpeg with EXIF": samples.pillow(RGB, "JPEG", exif=b"Exif\0\0" + samples.exif(6)),
    "jpeg cmyk": samples.pillow(RGB, "JPEG", "CMYK"),
    "jpeg with a profile": samples.pillow(RGB, "JPEG", icc_profile=samples.rgb_profile()),
    "webp": samples.pillow(RGB, "WEBP"),
    "webp alpha": samples.pillow(RGBA, "WEBP"),
    "webp animated": animated("WEBP"),
    "webp with EXIF": samples.pillow(RGB, "WEBP", exif=samples.exif(6)),
    "avif": samples.pillow(RGB, "AVIF"),
    "avif alpha": samples.pillow(RGBA, "AVIF"),
    "heic": samples.heic(RGB),
    "heic alpha": samples.heic(RGBA),
    "jxl": samples.pillow(RGB, "JXL"),
    "tiff with EXIF": samples.pillow(RGB, "TIFF", exif=samples.exif(6, secret=False)),
}
SOURCES = {name: data for name, (data, _) in LOSSLESS.items() if not name.startswith("bmp")} | LOSSY
NEW = {"generated": True, "changed": True}


def written(name: str, *, marked: bool, metadata="safe") -> bytes:
    """Write a source with a part of it painted over."""
    photo = read_photo_bytes(SOURCES[name], name.replace(" ", "."))
    new, mask = 255 - photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool)
    mask[3:20, 5:30] = True
    return encode_photo(photo, new, mask, metadata, marked=marked)


def without_mark(data: bytes) -> bytes:
    """Take the mark out by the formats' own rules; TIFF, WebP and AVIF, which refer to offsets, are compared apart."""
    if data[:2] == b"\xff\xd8":
        segment = b"http://ns.adobe.com/xap/1.0/\0" + PACKET
        return data.replace(b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment, b"", 1)
    if data[4:8] == b"JXL ":
        return data.replace(struct.pack(">I4s", 8 + len(PACKET), b"xml ") + PACKET, b"", 1)
    if data[:4] == b"\x89PNG":
        return data.replace(samples.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET), b"", 1)
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return data.replace(b"!\xff\x0bXMP DataXMP" + PACKET + trailer, b"", 1)


def tags(data: bytes) -> dict:
    """Return a TIFF's tags but those that are offsets, with its pixels."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = {tag.code: tag.value for tag in file.pages[0].tags if tag.code not in (273, 34665)}
    return found | {"bytes": len(data)}


def strips(data: bytes) -> list[bytes]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        places = zip(file.pages[0].dataoffsets, file.pages[0].databytecounts, strict=True)
        return [data[start : start + size] for start, size in places]


def chunks(data: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a WebP."""
    found, at = {}, 12
    while at < len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        found[kind] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_the_mark_is_the_one_thing_that_differs(name: str) -> None:
    plain, marked = written(name, marked=False), written(name, marked=True)
    assert marked.count(PACKET) == 1
    assert PACKET not in plain
    assert marked == written(name, marked=True)
    if plain[:2] == b"II":
        before, after = tags(plain), tags(marked)
        assert after.pop(700) == PACKET
        assert abs(after.pop("bytes") - before.pop("bytes") - len(PACKET) - 12) < 16  # pixels are aligned
        assert str(before) == str(after)
        assert strips(plain) == strips(marked)
    elif plain[:4] == b"RIFF":
        before, after = chunks(plain), chunks(marked)
        assert after.pop(b"XMP ") == PACKET
        head = after.pop(b"VP8X")
        assert head[0] & 4
        assert not before.pop(b"VP8X", b"\0")[0] & 4
        assert before == after
    elif plain[4:8] == b"ftyp":
        assert plain[plain.index(b"mdat") + 4 :] in marked
    else:
        assert without_mark(marked) == plain
    if plain[:2] != b"II":
        assert shown(marked).tobytes() == shown(plain).tobytes()


@pytest.mark.parametrize("metadata", ["strip", "safe"])
@pytest.mark.parametrize("name", SOURCES)
def test_the_audit_accepts_the_mark(name: str, metadata) -> None:
    assert find_leftovers(written(name, marked=True, metadata=metadata), metadata) == []


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "gif", "avif", "heic", "jxl"])
@pytest.mark.parametrize(
    "other",
    [
        PACKET.replace(b"composite", b"Composite"),
        PACKET.replace(b"?>\n<x", b"?> <x"),
        PACKET.replace(b'rdf:about=""', b'rdf:about=" "'),
        PACKET + b" ",
        samples.XMP,
    ],
)
def test_no_other_xmp_is_accepted(name: str, other: bytes) -> None:
    photo = read_photo_bytes(SOURCES[name], f"photo.{name}")
    photo = replace(photo, kept=replace(photo.kept, mark=other))
    with pytest.raises(ImageError, match="XMP"):
        encode_photo(photo, photo.image_rgb, np.zeros(photo.image_rgb.shape[:2], bool))


def test_a_second_mark_is_a_leftover() -> None:
    marked = written("png", marked=True)
    chunk = samples.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET)
    assert find_leftovers(marked.replace(chunk, 2 * chunk)) == ["PNG chunk iTXt (XMP): the mark a second time"]


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "gif", "avif", "heic", "jxl"])
def test_exiftool_reads_the_mark_and_nothing_else(name: str, tmp_path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(written(name, marked=True))
    found = exiftool(path, "-XMP:all", "-EXIF:all", "-IPTC:all")
    assert found.pop("XMP-iptcExt:DigitalSourceType") == SOURCE_TYPE
    assert [key for key in found if "XMP" in key] == []


def exiftool(path, *options: str) -> dict:
    """Return what exiftool finds in a file."""
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    done = subprocess.run(["exiftool", "-j", "-n", "-G1", *options, str(path)], capture_output=True, check=True)
    assert b"Warning" not in done.stdout
    return json.loads(done.stdout)[0]


@pytest.mark.parametrize(
    ("options", "generated", "changed", "marked"),
    [
        (MarkOptions(), True, True, "iptc"),
        (MarkOptions(), False, True, ""),
        (MarkOptions(), False, False, ""),
        (MarkOptions(mark_scope="changed"), False, True, "iptc"),
        (MarkOptions(mark_scope="changed"), False, False, ""),
        (MarkOptions(mark_scope="all"), False, False, "iptc"),
        (MarkOptions(mark="none"), True, True, ""),
        (MarkOptions(mark="none", mark_scope="all"), True, True, ""),
    ],
)
def test_files_are_marked_by_what_became_of_their_faces(options, generated, changed, marked) -> None:
    photo = read_photo_bytes(EIGHT_BIT["png"], "a.png")
    mask = np.zeros(RGB.shape[:2], bool)
    done = encode_marked(photo, photo.image_rgb, mask, "strip", options, generated=generated, changed=changed)
    assert done.mark == marked
    assert (PACKET in done.data) == bool(marked)
    assert done.data == encode_photo(photo, photo.image_rgb, mask, marked=bool(marked))


@pytest.mark.parametrize("name", SOURCES)
def test_a_mark_stays_unless_none_is_wanted(name: str) -> None:
    photo = read_photo_bytes(written(name, marked=True), name.replace(" ", "."))
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    for mark, kept in (("iptc", True), ("none", False)):
        options = MarkOptions(mark=mark)
        done = encode_marked(photo, photo.image_rgb, mask, "strip", options, generated=False, changed=False)
        assert (PACKET in done.data) == kept


def test_bmp_gets_a_note() -> None:
    photo = read_photo_bytes(LOSSLESS["bmp"][0], "a.bmp")
    mask = np.zeros(photo.image_rgb.shape[:2], bool)
    done = encode_marked(photo, photo.image_rgb, mask, "strip", MarkOptions(), **NEW)
    assert done.data == encode_photo(photo, photo.image_rgb, mask)
    assert done.mark == ""
    assert "BMP cannot hold a mark" in done.notes[0]


NOISE = samples.noise()
UNMARKED = {
    "bmp": (samples.pillow(NOISE, "BMP"), "87d5390e5c998761"),
}
"""Sources whose outputs hold no compressed pixels, with the hash of what was written before there were marks."""


@pytest.mark.parametrize("name", UNMARKED)
def test_without_a_mark_files_are_what_they_were_before_marks(name: str) -> None:
    source, digest = UNMARKED[name]
    photo = read_photo_bytes(source, name.replace(" ", "."))
    mask = np.zeros(NOISE.shape[:2], bool)
    mask[3:20, 5:30] = True
    done = encode_marked(photo, 255 - photo.image_rgb, mask, "strip", MarkOptions(mark="none"), **NEW)
    assert hashlib.sha256(done.data).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mark": "xmp"}, "none, iptc, c2pa"),
        ({"mark_scope": "some"}, "generated, changed, all"),
        ({"mark": "c2pa"}, "`c2pa_certificate` and `c2pa_key`"),
        ({"c2pa_timestamp": "http://stamps.example"}, "only used with `mark=c2pa`"),
    ],
)
def test_options_that_cannot_work_are_refused(given, words) -> None:
    with pytest.raises(OptionError, match=words):
        MarkOptions(**given)


def test_the_document_says_what_is_written() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/provenance.md").read_text()
    assert f"`{SOURCE_TYPE}`" in text
    assert f"The XMP packet has {len(PACKET)} bytes" in text
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    assert {*SUFFIXES, "MP4", "M4V", "MOV", "MKV"} <= {name.strip() for row in rows for name in row.split(",")}
