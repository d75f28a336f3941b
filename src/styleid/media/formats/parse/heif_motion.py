"""Find the video of a motion photo in a HEIC or AVIF file.

Google's and Samsung's cameras write it into a box `mpvd` behind the picture's boxes; Samsung's trailer of named parts
lies in a box `sefd` or behind all boxes. Videos that simply follow the picture count where XMP or the trailer names
them.
"""

from __future__ import annotations

import struct

from styleid.media.formats.parse.following import VIDEO_BOX
from styleid.media.formats.parse.isobmff import HeifFile
from styleid.media.formats.parse.motion import FoundMotion, find_motion, is_movie, motion_facts, trailer_start

_TRAILER_BOX = b"sefd"
_XMP = b"application/rdf+xml"


def picture_end(data: bytes) -> int:
    """Return where the boxes of a HEIC or AVIF end: before a second file that follows it, or Samsung's trailer."""
    trailer, at = trailer_start(data), 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if at and (kind == b"ftyp" or at == trailer):
            return at
        if size == 1 and at + 16 <= len(data):
            size = struct.unpack_from(">Q", data, at + 8)[0]
        if size < 8:  # a box that reaches to the end, or none
            break
        at += size
    return len(data)


def find_heif_motion(data: bytes, file: HeifFile) -> FoundMotion | None:
    """Return the video of a motion photo, None where the file holds none that readers find.

    data: the whole file. file: its structure up to `picture_end`.
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
    """Return the XMP packets of a file's items."""
    items = [item for item in file.items.values() if item.kind == b"mime" and _XMP in item.name]
    return [b"".join(data[start:end] for start, end in item.places) for item in items]
