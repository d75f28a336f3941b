"""Split a JPEG into its segments."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from styleid.media.containers.errors import BadFileError, CutShortError

_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)
"""A marker after entropy-coded data: not a stuffed 0xFF00 and no restart marker."""


@dataclass(frozen=True)
class JpegSegment:
    """A segment of a JPEG.

    Attributes:
        marker: The byte after 0xFF.
        payload: Content without the length field.
        start: Offset of the segment.
        end: Offset after the segment; for SOS, after its entropy-coded data.
    """

    marker: int
    payload: bytes
    start: int
    end: int


@dataclass(frozen=True)
class JpegParts:
    """The segments of a file's first picture, and the offset after its EOI marker."""

    segments: tuple[JpegSegment, ...]
    end: int


def jpeg_parts(data: bytes) -> JpegParts:
    """Split the first picture of a JPEG file; bytes after its EOI marker are ignored.

    Raises:
        BadFileError: It is no JPEG, or it is damaged.
        CutShortError: It has no EOI marker.
    """
    if data[:2] != b"\xff\xd8":
        raise BadFileError("it does not begin like a JPEG")
    segments: list[JpegSegment] = []
    position = 2
    while True:
        start = position
        while data[position : position + 1] == b"\xff":
            position += 1
        if position == start or position >= len(data):
            if position < len(data):
                raise BadFileError(f"the JPEG is damaged: no marker at byte {start}")
            raise CutShortError("the JPEG's pixels" if any(s.marker == 0xDA for s in segments) else "the JPEG's header")
        marker = data[position]
        position += 1
        if marker == 0xD9:
            return JpegParts(tuple(segments), position)
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        if position + 2 > len(data):
            raise CutShortError("a JPEG segment")
        length = struct.unpack_from(">H", data, position)[0]
        if length < 2 or position + length > len(data):
            raise CutShortError("a JPEG segment")
        payload = data[position + 2 : position + length]
        position += length
        if marker == 0xDA:
            found = _JPEG_MARKER.search(data, position)
            position = found.start() if found else len(data)
        segments.append(JpegSegment(marker, payload, start, position))
