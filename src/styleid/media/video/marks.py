"""Write the mark of generated content into a finished video, and find it.

MP4 stores XMP in a `uuid` box, QuickTime in `moov/udta/XMP_` (XMP specification, part 3). Matroska cannot store XMP, so
it gets a tag. FFmpeg writes the tags of a Matroska file before its pictures, when it is not known yet whether there
will be a new face, so the tag is always written and removed afterwards if it is not wanted.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from pathlib import Path

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.iso import Box, iso_boxes
from styleid.media.provenance import ISO_XMP, PACKET, declares_generated
from styleid.media.video.headers import elements

ByteSpan = tuple[int, int]
MATROSKA_TAG = "DIGITAL_SOURCE_TYPE"
_SEGMENT, _TAGS, _TAG, _SIMPLE_TAG = 0x18538067, 0x1254C367, 0x7373, 0x67C8
_CRC, _VOID = 0xBF, b"\xec\x01"
_LOOKED_AT_BYTES = 1 << 20


def says_generated(path: Path) -> bool:
    """Return whether the first or last MiB of a video contains a source type of generated content."""
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT_BYTES)
        file.seek(max(path.stat().st_size - _LOOKED_AT_BYTES, 0))
        return declares_generated(head) or declares_generated(file.read())


def mark_file(path: Path, container: str) -> None:
    """Write the XMP packet into a finished MP4 or QuickTime file.

    Args:
        path: The file, which is changed.
        container: "mp4" or "mov".
    """
    movie = _last_movie(path) if container == "mov" else None
    if movie is None:
        with path.open("ab") as file:
            file.write(_box(b"uuid", ISO_XMP + PACKET))
        return
    at, body = movie
    with path.open("r+b") as file:
        file.seek(at)
        file.write(_box(b"moov", _with_user_data(body)))


def untag_matroska(path: Path) -> None:
    """Overwrite the mark in a finished Matroska file with a void element of the same length."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        for tags in _inside(data, (0, len(data)), _SEGMENT, _TAGS):
            for tag in _inside(data, _body(data, tags), _TAG):
                _void_simple_tag(data, tag)
            _renew_checksum(data, _body(data, tags))


def _void_simple_tag(data: mmap.mmap, tag: ByteSpan) -> None:
    """Void the mark in a tag, or the whole tag if it contains nothing else."""
    simple = _inside(data, _body(data, tag), _SIMPLE_TAG)
    named = [one for one in simple if MATROSKA_TAG.encode() in data[one[0] : one[1]]]
    for start, end in named if len(simple) > len(named) else named and [tag]:
        data[start:end] = _VOID + (end - start - 9).to_bytes(7, "big") + bytes(end - start - 9)


def _renew_checksum(data: mmap.mmap, body: ByteSpan) -> None:
    """Update the checksum at the beginning of a list of tags, if there is one."""
    first = next(elements(data, *body), None)
    if first is not None and first.kind == _CRC and first.end - first.start == 4:
        data[first.start : first.end] = zlib.crc32(data[first.end : body[1]]).to_bytes(4, "little")


def _last_movie(path: Path) -> tuple[int, bytes] | None:
    """Return offset and content of the `moov` box, None if it is not the last box of the file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            last = iso_boxes(data)[-1]
        except BadFileError:
            return None
        return (last.at, data[last.start : last.end]) if last.kind == b"moov" else None


def _with_user_data(movie: bytes) -> bytes:
    """Return the content of a `moov` box with the XMP packet in its user data."""
    xmp = _box(b"XMP_", PACKET)
    held: Box | None = next((b for b in iso_boxes(movie) if b.kind == b"udta"), None)
    if held is None:
        return movie + _box(b"udta", xmp)
    user_data = _box(b"udta", xmp + movie[held.start : held.end])  # at the front, because user data may end in zeros
    return movie[: held.at] + user_data + movie[held.end :]


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _inside(data: mmap.mmap, span: ByteSpan, *kinds: int) -> list[ByteSpan]:
    """Return the spans, with their headers, of the elements that a path of kinds leads to."""
    found: list[ByteSpan] = []
    at = span[0]
    for element in elements(data, *span):
        if element.kind == kinds[0]:
            found.append((at, element.end))
        at = element.end
    if len(kinds) == 1:
        return found
    return [inner for one in found for inner in _inside(data, _body(data, one), *kinds[1:])]


def _body(data: mmap.mmap, span: ByteSpan) -> ByteSpan:
    element = next(elements(data, *span))
    return element.start, element.end
