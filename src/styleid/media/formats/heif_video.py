"""Read the video of a motion photo in HEIC or AVIF, and write another one behind the picture."""

from __future__ import annotations

import struct

from styleid.media.formats.decoded import MovingPart
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.following import VIDEO_BOX, VIDEO_HEADER_BYTES, Following
from styleid.media.formats.parse.heif_motion import find_heif_motion
from styleid.media.formats.parse.isobmff import HeifFile, further_parts


def read_moving(data: bytes, still_end: int, file: HeifFile) -> tuple[MovingPart | None, set[str]]:
    """Return the video of a motion photo, and the names of what else lies beside the picture and is left out.

    data: the whole file. still_end: where the boxes that `file` tells of end.
    """
    motion = find_heif_motion(data, file)
    if motion is not None:
        return MovingPart(data[motion.start : motion.end], motion.facts), further_parts(file, motion.start)
    behind = len(data) - still_end
    return None, further_parts(file) | ({f"{behind} bytes behind the picture"} if behind else set())


def xmp_packet(kept: Kept, moving: MovingPart | None, picture: str) -> bytes:
    """Return the XMP packet to write: the mark, and the place of the video where there is one; b"" for none.

    picture: the media type of the picture.
    """
    if moving is None:
        return kept.mark
    return Following(0, len(moving.data), moving.motion, picture).packet(marked=bool(kept.mark))


def with_video(data: bytes, moving: MovingPart | None) -> bytes:
    """Return a HEIC or AVIF with the video's box behind all others; as it is where there is no video."""
    if moving is None:
        return data
    return data + struct.pack(">I4s", VIDEO_HEADER_BYTES + len(moving.data), VIDEO_BOX) + moving.data
