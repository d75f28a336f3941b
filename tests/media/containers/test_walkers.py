"""Files are split into parts; errors name the part that is missing or damaged."""

import struct
from collections.abc import Callable

import pytest

from styleid.media.containers.errors import BadFileError, CutShortError, check_tail
from styleid.media.containers.gif import gif_blocks
from styleid.media.containers.iso import iso_boxes
from styleid.media.containers.jpeg import jpeg_parts
from styleid.media.containers.png import png_chunks
from styleid.media.containers.riff import riff_chunks
from tests.media import samples

PNG = b"\x89PNG\r\n\x1a\n"
GIF = b"GIF89a\1\0\1\0\0\0\0"


def riff(body: bytes, more: int = 0) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(body) + more) + b"WEBP" + body


DAMAGED: dict[str, tuple[Callable[[bytes], object], bytes, type[BadFileError], str]] = {
    "gif, another file": (gif_blocks, b"GIF88a", BadFileError, "does not begin like a GIF"),
    "gif, header cut": (gif_blocks, GIF[:12], CutShortError, "ends inside the GIF header"),
    "gif, no trailer": (gif_blocks, GIF, CutShortError, "the GIF, before its trailer"),
    "gif, no block": (gif_blocks, GIF + b"\x99", BadFileError, "damaged at byte 13"),
    "gif, extension cut": (gif_blocks, GIF + b"!", BadFileError, "damaged at byte 13"),
    "gif, picture cut": (gif_blocks, GIF + b"," + bytes(5), BadFileError, "damaged at byte 13"),
    "gif, block cut": (gif_blocks, GIF + b"!\xfe\x09abc", CutShortError, "before its trailer"),
    "iso, no room for a box": (iso_boxes, b"\0\0\0\x08free\0\0", CutShortError, r"inside a box\."),
    "iso, large size cut": (iso_boxes, b"\0\0\0\x01free\0\0", CutShortError, r"inside a box\."),
    "iso, box beyond the end": (iso_boxes, b"\0\0\0\x09free", CutShortError, "the box 'free'"),
    "iso, box smaller than its head": (iso_boxes, b"\0\0\0\x07free", CutShortError, "the box 'free'"),
    "jpeg, another file": (jpeg_parts, b"\xff\xd9", BadFileError, "does not begin like a JPEG"),
    "jpeg, header cut": (jpeg_parts, b"\xff\xd8", CutShortError, "the JPEG's header"),
    "jpeg, no marker": (jpeg_parts, b"\xff\xd8\0\0", BadFileError, "no marker at byte 2"),
    "jpeg, length cut": (jpeg_parts, b"\xff\xd8\xff\xe0\0", CutShortError, "a JPEG segment"),
    "jpeg, length of nothing": (jpeg_parts, b"\xff\xd8\xff\xe0\0\1\0", CutShortError, "a JPEG segment"),
    "jpeg, segment cut": (jpeg_parts, b"\xff\xd8\xff\xe0\0\x09abc", CutShortError, "a JPEG segment"),
    "jpeg, pixels cut": (jpeg_parts, b"\xff\xd8\xff\xda\0\2abc", CutShortError, "the JPEG's pixels"),
    "png, another file": (png_chunks, b"\x89PNG", BadFileError, "does not begin like a PNG"),
    "png, head cut": (png_chunks, PNG + bytes(11), CutShortError, "a PNG chunk"),
    "png, chunk cut": (png_chunks, PNG + b"\0\0\0\1tEXt" + bytes(4), CutShortError, "the PNG chunk 'tEXt'"),
    "png, no end": (png_chunks, PNG + samples.png_chunk(b"IDAT", b""), CutShortError, "before its IEND chunk"),
    "webp, another file": (riff_chunks, b"RIFF\4\0\0\0WAVE", BadFileError, "does not begin like a WebP"),
    "webp, cut": (riff_chunks, riff(b"VP8 \0\0\0\0", 8), CutShortError, "ends inside the WebP"),
    "webp, chunk beyond the end": (riff_chunks, riff(b"VP8 \2\0\0\0a"), CutShortError, "the WebP chunk 'VP8 '"),
    "zeros at the end": (check_tail, b"\1" + bytes(1024), CutShortError, "its pixels: the rest is zeros"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name: str) -> None:
    walk, data, kind, says = DAMAGED[name]
    with pytest.raises(kind, match=says):
        walk(data)


def test_jpeg_markers_without_content_and_fill_bytes_are_passed_over() -> None:
    parts = jpeg_parts(b"\xff\xd8\xff\x01\xff\xd0\xff\xff\xfe\0\3a\xff\xd9more")
    assert [(s.marker, s.payload) for s in parts.segments] == [(0xFE, b"a")]
    assert parts.end == 14


def test_a_box_may_have_a_size_of_eight_bytes_or_reach_to_the_end() -> None:
    large = struct.pack(">I4sQ", 1, b"mdat", 18) + b"ab"
    last = b"\0\0\0\0mdat" + b"cd"
    boxes = iso_boxes(large + last)
    data = large + last
    assert [data[b.start : b.end] for b in boxes] == [b"ab", b"cd"]


def test_gif_blocks_are_told_apart() -> None:
    picture = b"," + bytes(8) + b"\x80" + bytes(6) + b"\2\1\0\0"
    blocks, end = gif_blocks(GIF[:10] + b"\x80" + GIF[11:] + bytes(6) + b"!\xf9\1\0\0" + picture + b";tail")
    assert [(b.kind, b.body[:1]) for b in blocks] == [("f9", b"!"), ("picture", b",")]
    assert end == 19 + 5 + len(picture) + 1


def test_a_webp_of_odd_length_may_lack_its_last_padding() -> None:
    chunks, end = riff_chunks(riff(b"VP8 \1\0\0\0a"))
    assert [c.body for c in chunks] == [b"a"]
    assert end == 21


@pytest.mark.parametrize("stream", [b"", bytes(1024), bytes(1024) + b"\1", b"\1" * 2000])
def test_streams_that_end_like_any_other_are_taken(stream: bytes) -> None:
    check_tail(stream)
