"""Headers of MP4, QuickTime and Matroska files, built box by box, and the errors for damaged ones."""

import struct
import zlib
from fractions import Fraction

import pytest

from styleid.media.containers.errors import BadFileError
from styleid.media.video.headers import CleanAperture, Headers, PixelCrop, read_headers
from tests.media.boxes import box
from tests.media.video.test_visible import element, number

CLAP = box(b"clap", struct.pack(">IIIIiIiI", 8, 1, 6, 1, 0, 1, -1, 1))
APERTURE = CleanAperture(Fraction(8), Fraction(6), Fraction(0), Fraction(-1))


def track(*inside: bytes, kind: bytes = b"vide", extra: bytes = b"", version: int = 0) -> bytes:
    """Return a picture track, number 7, with one sample entry that holds some boxes."""
    entry = box(b"avc1", bytes(78) + b"".join(inside))
    table = box(b"stbl", box(b"stsd", struct.pack(">I", 1) + entry, 0, 0))
    media = box(b"mdia", box(b"hdlr", bytes(4) + kind + bytes(12), 0, 0) + box(b"minf", table))
    header = box(b"tkhd", bytes(16 if version else 8) + struct.pack(">I", 7) + bytes(60), version, 0)
    return box(b"trak", header + media + extra)


def movie(*parts: bytes) -> bytes:
    return box(b"moov", b"".join(parts))


def deflated(inner: bytes) -> bytes:
    return movie(box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", bytes(4) + zlib.compress(inner))))


def matroska(*tracks: bytes, size: int | None = None) -> bytes:
    body = element(0x1654AE6B, *tracks)
    head = element(0x1A45DFA3)
    segment = element(0x18538067, body)
    if size is not None:
        segment = segment[:4] + (size | 1 << 56).to_bytes(8, "big") + segment[12:]
    return head + segment


def entry(*crops: tuple[int, int], kind: int = 1) -> bytes:
    video = element(0xE0, number(0xB0, 64), *(number(side, count) for side, count in crops))
    return element(0xAE, number(0x83, kind), video)


@pytest.fixture
def read(tmp_path):
    """Read the headers of a file of some bytes."""

    def of(data: bytes, container: str) -> Headers:
        (tmp_path / "in").write_bytes(data)
        return read_headers(tmp_path / "in", container)

    return of


@pytest.mark.parametrize(
    ("data", "apertures"),
    [
        (movie(track()), {7: {None}}),
        (movie(track(CLAP)), {7: {APERTURE}}),
        (movie(track(CLAP, version=1)), {7: {APERTURE}}),
        (deflated(movie(track(CLAP))), {7: {APERTURE}}),
        (movie(track(kind=b"soun")), {}),
        (movie(box(b"trak", b"")), {}),
        (movie(track(CLAP, kind=b"auxv"), box(b"udta", b"")), {7: {APERTURE}}),
        (movie(track(box(b"auxi", b"urn:depth"), kind=b"auxv")), {7: {None}}),
    ],
    ids=["none", "clap", "long header", "compressed", "sound", "empty", "alpha", "depth"],
)
def test_apertures_of_movies_are_found(read, data, apertures):
    assert read(data, "mov,mp4,m4a").apertures == apertures


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (movie(box(b"clip", bytes(8)), track()), "a clipping region"),
        (movie(track(extra=box(b"clip", b""))), "a clipping region or a matte"),
        (movie(track(extra=box(b"matt", b""))), "a clipping region or a matte"),
        (movie(track(kind=b"auxv")), "transparency in a separate track"),
    ],
)
def test_what_hides_parts_of_a_picture_is_named(read, data, what):
    assert read(data, "mov").unread == what


DAMAGED = {
    "no movie": (box(b"mdat", b""), "mov", "its list of tracks was not found"),
    "two movies": (movie() + movie(), "mov", "several recordings were joined in it"),
    "an empty compressed header": (movie(box(b"cmov", b"")), "mov", "its compressed header is damaged"),
    "a compressed header of something else": (
        movie(box(b"cmov", box(b"cmvd", bytes(12)))),
        "mov",
        "its headers are damaged",
    ),
    "a crop that is cut": (movie(track(box(b"clap", bytes(6)))), "mov", "its headers are damaged"),
    "a crop by zero": (movie(track(box(b"clap", bytes(32)))), "mov", "its headers are damaged"),
    "no tracks": (element(0x1A45DFA3) + element(0x18538067), "matroska,webm", "its list of tracks was not found"),
    "two films": (b"FLV\x01\x05\0\0\0\x09" * 2, "flv", "several recordings were joined in it"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(read, name):
    data, container, says = DAMAGED[name]
    with pytest.raises(BadFileError, match=says):
        read(data, container)


@pytest.mark.parametrize(
    ("rest", "whole"), [(b"", True), (bytes(100), True), (b"\0\0\0\x50mdat", False)], ids=["end", "zeros", "cut"]
)
def test_fragments_that_end_early_are_noticed(read, rest, whole):
    headers = read(movie(track()) + box(b"moof", b"") + box(b"mdat", b"x") + rest, "mov")
    assert (headers.whole, headers.ends_at) == (whole, True)


def test_crops_of_matroska_go_by_the_tracks_place(read):
    crops = entry((0x54CC, 1), (0x54BB, 2), (0x54DD, 3), (0x54AA, 4))
    headers = read(matroska(entry(kind=2), entry(), crops, element(0xAE, number(0x83, 1))), "matroska,webm")
    assert headers.apertures == {0: {None}, 1: {PixelCrop(1, 2, 3, 4)}, 2: {None}}
    assert headers.aperture(9, 0, 3) is None
    assert headers.aperture(9, 1, 3) == PixelCrop(1, 2, 3, 4)
    with pytest.raises(BadFileError, match="disagree about which part"):
        headers.aperture(9, 1, 2)


@pytest.mark.parametrize(("size", "whole"), [(None, True), (10**6, False), ((1 << 56) - 1, True)])
def test_a_segment_that_is_longer_than_the_file_is_cut(read, size, whole):
    assert read(matroska(entry(), size=size), "matroska").whole is whole


@pytest.mark.parametrize("rest", [b"\0\0", b"\x1a", b"\x08\x40\x80", b"\xec\0\0", b"\xec\x01"])
def test_bytes_that_are_no_element_end_a_list(read, rest):
    assert read(matroska(entry()) + rest, "matroska").apertures == {0: {None}}


@pytest.mark.parametrize(("container", "ends_at"), [("avi", False), ("nut", True), ("mpegts", False)])
def test_other_containers_hide_nothing(read, container, ends_at):
    assert read(b"anything", container) == Headers(ends_at=ends_at)


def test_one_recording_of_a_format_without_headers_is_enough(read):
    assert read(b"FLV\x01\x05\0\0\0\x09" + bytes(20), "flv") == Headers()
