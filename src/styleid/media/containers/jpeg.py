"""Walk the segments of a JPEG."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from styleid.media.containers.errors import BadFileError, CutShortError

_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)
"""A marker inside entropy-coded data: not a stuffed 0xFF00, not a restart marker."""


@dataclass(frozen=True)
class JpegSegment:
    """Hold one marker segment: marker (the byte after 0xFF), payload without its length, start and end in the file.

    For SOS, `end` is where its entropy-coded data ends.
    """

    marker: int
    payload: bytes
    start: int
    end: int


@dataclass(frozen=True)
class JpegParts:
    """Hold the segments of the first picture, and the offset after its EOI."""

    segments: tuple[JpegSegment, ...]
    end: int


def jpeg_parts(data: bytes) -> JpegParts:
    """Split the first picture of a JPEG file; what lies after its EOI is left alone."""
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
