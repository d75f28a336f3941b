"""Find the gain map after the picture in a JPEG file, and build the segment that lists both pictures.

A gain map is a second JPEG, listed in an MPF segment (CIPA DC-007) and in Google's container directory in XMP.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.jpeg import JpegParts, JpegSegment, jpeg_parts
from styleid.media.formats.parse.gain_map import ISO_NAME, GainMapNumbers, read_iso, read_xmp
from styleid.media.formats.parse.ifd import TiffReader
from styleid.media.provenance import JPEG_XMP

MPF_NAME = b"MPF\0"
_MP_ENTRIES = 0xB002
_ENTRY_BYTES = 16
_MOST_PICTURES = 16
_PRIMARY_PICTURE = 0x030000
"""MPF's type of the picture that is shown, "baseline MP primary image"; gain maps have type 0."""


@dataclass(frozen=True)
class FoundGainMap:
    """A gain map found in a file: its byte range and its numbers."""

    start: int
    end: int
    numbers: GainMapNumbers


def find_gain_map(data: bytes, parts: JpegParts) -> FoundGainMap | None:
    """Return the first picture after the main one that declares itself a gain map, None if there is none.

    Args:
        data: The whole file.
        parts: Segments of the main picture.

    Raises:
        BadFileError: The gain map's description is damaged or of an unsupported kind.
    """
    for start in further_pictures(data, parts):
        try:
            inner = jpeg_parts(data[start:])
        except BadFileError:
            continue
        if (numbers := gain_map_numbers(inner.segments)) is not None:
            return FoundGainMap(start, start + inner.end, numbers)
    return None


def further_pictures(data: bytes, parts: JpegParts) -> list[int]:
    """Return the offsets of pictures after the main one: directly after it, and those that the MPF segment lists.

    Args:
        data: The whole file.
        parts: Segments of the main picture.
    """
    starts = [parts.end] if data[parts.end : parts.end + 3] == b"\xff\xd8\xff" else []
    for segment in parts.segments:
        if segment.marker == 0xE2 and segment.payload.startswith(MPF_NAME):
            header = segment.end - len(segment.payload) + len(MPF_NAME)
            starts += [header + offset for offset in _mpf_offsets(segment.payload[len(MPF_NAME) :])]
    return [s for s in dict.fromkeys(starts) if s >= parts.end and data[s : s + 3] == b"\xff\xd8\xff"]


def gain_map_numbers(segments: tuple[JpegSegment, ...]) -> GainMapNumbers | None:
    """Return the numbers of a gain map from its segments, from ISO 21496-1 if present, else from XMP.

    Returns None if the segments do not declare a gain map.

    Raises:
        BadFileError: The description is damaged or of an unsupported kind.
    """
    payloads = [s.payload for s in segments if s.marker == 0xE2 and s.payload.startswith(ISO_NAME)]
    long = [p for p in payloads if len(p) > len(ISO_NAME) + 4]
    if long:
        return read_iso(long[0])
    packets = [s.payload for s in segments if s.marker == 0xE1 and s.payload.startswith(JPEG_XMP)]
    found = (read_xmp(packet[len(JPEG_XMP) :]) for packet in packets)
    return next((numbers for numbers in found if numbers is not None), None)


def mpf_payload(first_bytes: int, second_offset: int, second_bytes: int) -> bytes:
    """Return the payload of the MPF segment for a file of two pictures.

    Args:
        first_bytes: Length of the first picture.
        second_offset: Offset of the second picture from the byte-order mark in this segment.
        second_bytes: Length of the second picture.
    """
    entries_at = 8 + 2 + 3 * 12 + 4
    directory = struct.pack("<H", 3)
    directory += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100")
    directory += struct.pack("<HHII", 0xB001, 4, 1, 2)
    directory += struct.pack("<HHII", _MP_ENTRIES, 7, 2 * _ENTRY_BYTES, entries_at) + bytes(4)
    entries = struct.pack("<IIIHH", _PRIMARY_PICTURE, first_bytes, 0, 0, 0)
    entries += struct.pack("<IIIHH", 0, second_bytes, second_offset, 0, 0)
    return MPF_NAME + b"II*\0\x08\0\0\0" + directory + entries


def _mpf_offsets(block: bytes) -> list[int]:
    """Return the offsets of all pictures but the first from the block's byte-order mark; none if it is damaged."""
    try:
        reader = TiffReader.open(block)
        field = reader.directory(reader.first_offset).fields.get(_MP_ENTRIES)
    except BadFileError:
        return []
    if field is None or not isinstance(field.values, bytes):
        return []
    whole = field.values[: len(field.values) // _ENTRY_BYTES * _ENTRY_BYTES]
    entries = list(struct.iter_unpack(reader.order + "IIIHH", whole))
    return [offset for _, _, offset, _, _ in entries[1:_MOST_PICTURES]]
