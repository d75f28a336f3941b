"""Read the video of a motion photo in HEIC or AVIF, and write another video after the picture."""

from __future__ import annotations

import struct

from styleid.media.counts import counted
from styleid.media.formats.decoded import MovingPart
from styleid.media.formats.kept import Kept
from styleid.media.formats.parse.following import VIDEO_BOX, VIDEO_HEADER_BYTES, FollowingData
from styleid.media.formats.parse.heif_motion import find_heif_motion
from styleid.media.formats.parse.isobmff import HeifFile, further_parts


def read_moving(data: bytes, still_end: int, file: HeifFile) -> tuple[MovingPart | None, set[str]]:
    """Return the video of a motion photo, None if there is none, and the names of other data that is left out.

    Args:
        data: The whole file.
        still_end: Offset after the boxes that `file` describes.
        file: The structure of the picture.
    """
    motion = find_heif_motion(data, file)
    if motion is not None:
        return MovingPart(data[motion.start : motion.end], motion.facts), further_parts(file, motion.start)
    behind = len(data) - still_end
    return None, further_parts(file) | ({f"{counted(behind, 'byte')} after the picture"} if behind else set())


def xmp_packet(kept: Kept, moving: MovingPart | None, picture: str) -> bytes:
    """Return the XMP packet to write, b"" for none.

    Args:
        kept: The metadata to write; its mark, if any, becomes part of the packet.
        moving: The video, which the packet describes; None if there is none.
        picture: Media type of the picture.
    """
    if moving is None:
        return kept.mark
    return FollowingData(0, len(moving.data), moving.motion, picture).packet(marked=bool(kept.mark))


def with_video(data: bytes, moving: MovingPart | None) -> bytes:
    """Append a box with the video to a HEIC or AVIF; without a video, return the file unchanged."""
    if moving is None:
        return data
    return data + struct.pack(">I4s", VIDEO_HEADER_BYTES + len(moving.data), VIDEO_BOX) + moving.data
