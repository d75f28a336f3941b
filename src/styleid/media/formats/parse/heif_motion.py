"""Find the video of a motion photo in a HEIC or AVIF file.

Google's and Samsung's cameras write it into a box `mpvd` after the picture's boxes. Samsung's trailer of named parts is
in a box `sefd` or after all boxes. A video that follows the picture without a box is found if XMP or the trailer names
it.
"""

from __future__ import annotations

import struct

from styleid.media.formats.parse.following import VIDEO_BOX
from styleid.media.formats.parse.isobmff import HeifFile
from styleid.media.formats.parse.motion import FoundMotion, find_motion, is_movie, motion_facts, trailer_start

_TRAILER_BOX = b"sefd"
_XMP = b"application/rdf+xml"


def picture_end(data: bytes) -> int:
    """Return the offset after the boxes of a HEIC or AVIF: where a second file or Samsung's trailer begins, if any."""
    trailer, at = trailer_start(data), 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if at and (kind == b"ftyp" or at == trailer):
            return at
        if size == 1 and at + 16 <= len(data):
            size = struct.unpack_from(">Q", data, at + 8)[0]
        if size < 8:  # a box that extends to the end, or no box
            break
        at += size
    return len(data)


def find_heif_motion(data: bytes, file: HeifFile) -> FoundMotion | None:
    """Return the video of a motion photo, None if the file has none that other readers find.

    Args:
        data: The whole file.
        file: Its structure up to `picture_end`.
    """
    packets = xmp_packets(data, file)
    for box in file.boxes:
        if box.kind == VIDEO_BOX and is_movie(data, box.start):
            return FoundMotion(box.start, box.end, motion_facts(packets))
    end = max(box.end for box in file.boxes if box.kind not in (VIDEO_BOX, _TRAILER_BOX))
    ends = [box.end for box in file.boxes if box.kind == _TRAILER_BOX]
    found = (find_motion(data[:stop], packets, end) for stop in (len(data), *ends))
    return next((one for one in found if one is not None), None)


def xmp_packets(data: bytes, file: HeifFile) -> list[bytes]:
    """Return the XMP packets in a file's items."""
    items = [item for item in file.items.values() if item.kind == b"mime" and _XMP in item.name]
    return [b"".join(data[start:end] for start, end in item.places) for item in items]
